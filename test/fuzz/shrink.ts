import type { Difference } from './compare.ts';
import type { Program } from './program.ts';

type Run = (programs: readonly Program[]) => Promise<Difference | null>;

/**
 * Looks for fewer messages (and fewer sessions) that still make a difference: halves, quarters … are left out, down to single
 * messages. At most `tries` runs. A sequence whose direct connection was closed is not legal and does not count.
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
  const attempt = async (candidate: readonly Program[]): Promise<boolean> => {
    if (left <= 0 || candidate.length === 0) return false;
    left -= 1;
    const found = await run(candidate).catch(() => null);
    if (found === null || found.direct.end !== 'answered') return false;
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
    for (let at = (best[which] as Program).items.length - size; at >= 0; at -= size) {
      const { items } = best[which] as Program;
      const fewer = [...items.slice(0, at), ...items.slice(at + size)];
      // The last wait stays: what follows it would not be heard.
      if (fewer.at(-1)?.type !== 'wait') continue;
      const candidate = best.map((each, i) => (i === which ? { ...each, items: fewer } : each));
      if (await attempt(candidate)) any = true;
    }
    return any;
  }
}
