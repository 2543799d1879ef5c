import type { Difference } from './compare.ts';
import type { Program } from './program.ts';

type Run = (programs: readonly Program[]) => Promise<Difference | null>;

const SHRINK_MS = 40_000;

/**
 * Looks for fewer messages (and fewer sessions) that still make a difference: halves, quarters … are left out, down to single
 * messages. At most `tries` runs.
 */
export async function shrink(
  programs: readonly Program[],
  first: Difference,
  run: Run,
  tries: number,
): Promise<{ readonly programs: readonly Program[]; readonly difference: Difference }> {
  let best = programs;
  let difference = first;
  let left = tries;
  const untilMs = performance.now() + SHRINK_MS;
  const attempt = async (candidate: readonly Program[]): Promise<boolean> => {
    if (left <= 0 || performance.now() > untilMs || candidate.length === 0) return false;
    left -= 1;
    const found = await run(candidate).catch(() => null);
    if (found === null) return false;
    best = candidate;
    difference = found;
    return true;
  };
  await attempt(programs.filter((each) => each.session === first.program.session));
  for (let i = best.length - 1; i >= 0 && best.length > 1; i--) await attempt(best.filter((_, at) => at !== i));
  await attempt(best.map((each) => ({ ...each, cuts: 0 })));
  for (let which = 0; which < best.length; which++) {
    for (let size = Math.ceil((best[which] as Program).items.length / 2); size >= 1 && left > 0; ) {
      if (!(await leaveOut(size, which))) size = size === 1 ? 0 : Math.ceil(size / 2);
    }
  }
  return { programs: best, difference };

  /** Tries to leave out each run of `size` messages; whether any could go. */
  async function leaveOut(size: number, which: number): Promise<boolean> {
    let any = false;
    // The last Sync and wait stay: without them what is before may be heard or not.
    for (let at = (best[which] as Program).items.length - 2 - size; at > -size; at -= size) {
      const { items } = best[which] as Program;
      const fewer = [...items.slice(0, Math.max(at, 0)), ...items.slice(at + size)];
      const candidate = best.map((each, i) => (i === which ? { ...each, items: fewer } : each));
      if (await attempt(candidate)) any = true;
    }
    return any;
  }
}
