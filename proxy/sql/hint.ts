import type { ConsistencyLevel } from '../routing/choose-node.ts';

/** What a leading comment asks for; `code` 0: nothing. */
export interface Hint {
  readonly role: 'leader' | 'follower' | null;
  readonly consistency: ConsistencyLevel | null;
}

const ROLES = [null, 'leader', 'follower'] as const;
const LEVELS = [null, 'eventual', 'session', 'database', 'strong'] as const;
const HINTS: readonly Hint[] = LEVELS.flatMap((consistency) => ROLES.map((role) => ({ role, consistency })));

/** Longer comments are no hints. */
export const MAX_HINT_BYTES = 96;

export function hintOf(code: number): Hint {
  return HINTS[code] ?? { role: null, consistency: null };
}

const HINT = /^leasehold:(.+)$/is;
const CONSISTENCY = /^consistency\s*=\s*'?([a-z]+)'?$/;

/**
 * The body of a comment to a number below 15 that stands in the cache's key: `leasehold: leader`, `leasehold: follower`,
 * `leasehold: consistency=eventual`, or two of them with a comma between. 0: it is no hint, or one that is not understood.
 */
export function parseHint(body: string): number {
  const items = HINT.exec(body.trim())?.[1]?.toLowerCase().split(',');
  if (items === undefined) return 0;
  let role = 0;
  let level = 0;
  for (const item of items.map((each) => each.trim())) {
    const named = ROLES.indexOf(item as (typeof ROLES)[number]);
    const leveled = LEVELS.indexOf((CONSISTENCY.exec(item)?.[1] ?? '') as (typeof LEVELS)[number]);
    if (named > 0) role = named;
    else if (leveled > 0) level = leveled;
    else return 0;
  }
  return role + 3 * level;
}
