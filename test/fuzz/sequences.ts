import type { ProxyCluster } from '../support/proxy-cluster.ts';
import { Comparison, report, signature } from './compare.ts';
import { type Program, programOf } from './program.ts';
import { shrink } from './shrink.ts';

export interface Campaign {
  readonly seed: number;
  readonly runs: number;
  /** On the clock of `performance.now()`. */
  readonly untilMs: number;
  /** Programs at once, sharing the proxy's pools. */
  readonly sessions: number;
  readonly stopAfter: number;
  readonly say: (line: string) => void;
}

export interface Found {
  readonly seed: number;
  readonly text: string;
}

const SHRINK_RUNS = 150;
const SHRINK_SILENCE_MS = 1_500;

/** Run k of a campaign has the seed `seed + k`: `--seed` of a failure with `--runs 1` repeats it. */
export async function fuzzSequences(
  cluster: ProxyCluster,
  campaign: Campaign,
): Promise<{ readonly runs: number; readonly messages: number; readonly differences: readonly Found[] }> {
  await using comparison = await Comparison.open(cluster);
  const differences: Found[] = [];
  const known = new Map<string, number>();
  let runs = 0;
  let messages = 0;
  for (
    ;
    runs < campaign.runs && performance.now() < campaign.untilMs && differences.length < campaign.stopAfter;
    runs++
  ) {
    const seed = campaign.seed + runs;
    const programs = programsOf(seed, campaign.sessions);
    messages += programs.reduce((sum, { items }) => sum + items.length, 0);
    const text = await check(comparison, programs, known);
    if (text === null) continue;
    differences.push({ seed, text });
    campaign.say(`seed ${seed}${campaign.sessions > 1 ? `, ${campaign.sessions} sessions` : ''}:\n${text}\n`);
  }
  for (const [key, count] of known) if (count > 1) campaign.say(`${count} times: ${key}`);
  return { runs, messages, differences };
}

export function programsOf(seed: number, sessions: number): Program[] {
  return Array.from({ length: sessions }, (_, i) => programOf(seed * 64 + i, i + 1));
}

async function check(
  comparison: Comparison,
  programs: readonly Program[],
  known: Map<string, number>,
): Promise<string | null> {
  try {
    const first = await comparison.run(programs);
    if (first === null) return null;
    const key = signature(first);
    known.set(key, (known.get(key) ?? 0) + 1);
    if (known.get(key) !== 1) return null;
    const again = await comparison.run(programs);
    if (again === null) return `does not repeat: it depends on timing\n${report(first)}`;
    const { programs: fewer, difference } = await shrink(
      programs,
      again,
      (some) => comparison.run(some, SHRINK_SILENCE_MS),
      SHRINK_RUNS,
    );
    const others = fewer.filter((each) => each.session !== difference.program.session);
    return [
      report(difference),
      ...others.map((each) => `  beside it:\n${report({ ...difference, program: each })}`),
    ].join('\n');
  } catch (error) {
    return `failed: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`;
  }
}
