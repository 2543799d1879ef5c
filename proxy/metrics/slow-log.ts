import type { Logger } from '../../common/logger.ts';
import type { Unit } from '../session/unit.ts';
import type { ActivityOwner } from './activity.ts';
import type { RouteCell } from './recorder.ts';
import { shownStatement } from './shown-statement.ts';
import { commentTags } from './sqlcommenter.ts';

export interface SlowQuery {
  readonly owner: ActivityOwner;
  readonly unit: Unit | null;
  /** `done`, `error` (of the server), or the SQLSTATE of the proxy's own error. */
  readonly outcome: string;
  readonly durationMs: number;
  readonly serverMs: number;
  readonly holdMs: number;
  readonly causalMs: number;
  readonly cell: RouteCell | null;
  readonly tag: string | null;
}

export interface SlowLogOptions {
  readonly logger: Logger;
  /** Records in a second; of more only their number is told. */
  readonly perSecond: () => number;
  readonly nowMs: () => number;
}

/** Texts that are looked through for a comment. */
const MAX_TEXT = 64 * 1024;
const MAX_STATEMENT = 2000;

/** Writes slow units to the log: the statement without its literals, never a parameter. */
export class SlowLog {
  readonly #options: SlowLogOptions;
  #second = -Infinity;
  #written = 0;
  #suppressed = 0;

  constructor(options: SlowLogOptions) {
    this.#options = options;
  }

  write(query: SlowQuery): void {
    const { logger, perSecond, nowMs } = this.#options;
    const second = Math.floor(nowMs() / 1000);
    if (second !== this.#second) {
      this.#second = second;
      this.#written = 0;
    }
    if (this.#written >= perSecond()) {
      this.#suppressed += 1;
      return;
    }
    this.#written += 1;
    const suppressed = this.#suppressed;
    this.#suppressed = 0;
    logger.warn({ ...recordOf(query), ...(suppressed === 0 ? {} : { suppressed }) }, 'slow query');
  }
}

function recordOf({ owner, unit, outcome, durationMs, serverMs, holdMs, causalMs, cell, tag }: SlowQuery): object {
  const waitMs = Math.max(0, durationMs - serverMs - holdMs - causalMs);
  const key = unit?.key ?? null;
  const statement = key === null ? null : shownStatement(key);
  return {
    event: 'query.slow',
    durationMs: rounded(durationMs),
    waitMs: rounded(waitMs),
    holdMs: rounded(holdMs),
    causalWaitMs: rounded(causalMs),
    serverMs: rounded(serverMs),
    node: cell?.node ?? null,
    role: cell?.role ?? null,
    class: unit?.plan.label ?? null,
    outcome,
    tag,
    database: owner.database,
    user: owner.user,
    application: owner.application(),
    statement:
      statement === null || statement.length <= MAX_STATEMENT ? statement : `${statement.slice(0, MAX_STATEMENT)}…`,
    ...(unit === null ? {} : commentTags(textOf(unit))),
  };
}

/** The text as the client wrote it, for its comments only. */
function textOf(unit: Unit): string {
  for (const { kind, bytes, prepared } of unit.entries) {
    if (kind === 'query') return bytes.toString('utf8', 5, Math.min(bytes.length - 1, MAX_TEXT));
    if (prepared === null) continue;
    const { textStart, textEnd } = prepared;
    return prepared.parse.toString('utf8', textStart, Math.min(textEnd, textStart + MAX_TEXT));
  }
  return '';
}

function rounded(ms: number): number {
  return Math.round(ms * 10) / 10;
}
