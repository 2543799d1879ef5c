import { setTimeout as sleep } from 'node:timers/promises';
import type { Attempt } from '../../proxy/drill/attempts.ts';
import { changeUnderLoad } from './pgbench-load.ts';
import type { Scenario } from './schedule.ts';
import type { Observed, Side } from './side.ts';
import { missingAppends, Writer } from './writer.ts';

/** One run of one side. */
export interface Measurement {
  readonly side: string;
  readonly scenario: Scenario;
  readonly run: number;
  /** The longest stall of a write; null where writes did not go on for every client. */
  readonly stallMs: number | null;
  /** switchover: the longest time in which none of the 32 clients had a transaction acknowledged. */
  readonly stallOfAllMs: number | null;
  /** What clients were told, counted by SQLSTATE or text. */
  readonly errors: Readonly<Record<string, number>>;
  /** Connections that were lost and made again. */
  readonly reconnects: number;
  readonly acknowledged: number;
  readonly lost: number;
  /** What the cluster itself showed; null where it shows nothing. */
  readonly observed: Observed | null;
}

/** Writes before the fault: connections and caches are warm. */
const WARM = 200;

/** Brings the side in step, breaks it, and waits until it is in step again. A run that fails is told, and has no end. */
export async function measure(side: Side, scenario: Scenario, run: number): Promise<Measurement> {
  try {
    await side.settle();
    // It was in step at a moment that its own loop chose.
    await sleep(Math.random() * side.cycleMs);
    return await (scenario === 'switchover' ? switchoverRun(side, run) : faultRun(side, scenario, run));
  } catch (error) {
    const errors = { [(error as Error).message.split('\n')[0] ?? '']: 1 };
    const none = { stallMs: null, stallOfAllMs: null, reconnects: 0, acknowledged: 0, lost: 0, observed: null };
    return { side: side.name, scenario, run, errors, ...none };
  }
}

let writers = Math.floor(Date.now() / 1000) % 1_000_000_000;

async function faultRun(side: Side, scenario: 'crash' | 'host', run: number): Promise<Measurement> {
  const id = (writers += 1);
  const writer = new Writer(side.port, id);
  const observation = side.observe?.();
  writer.start();
  await writer.untilAcknowledged(WARM);
  const { struckMs, restore } = await (scenario === 'crash' ? side.crash() : side.loseHost());
  // From here on nothing that the old leader acknowledged can arrive.
  const goneMs = performance.now();
  const { attempts, stallMs, errors, reconnects } = await writer.finish(goneMs).finally(restore);
  const acknowledged = attempts.filter(({ outcome }) => outcome === 'acknowledged');
  const firstMs = endOfLongestGap(acknowledged, goneMs);
  const observed = (await observation?.(struckMs, firstMs)) ?? null;
  await side.settle();
  const lost = await missingAppends(side.port, id, attempts);
  return {
    side: side.name,
    scenario,
    run,
    stallMs,
    stallOfAllMs: null,
    errors,
    reconnects,
    acknowledged: acknowledged.length,
    lost,
    observed,
  };
}

function endOfLongestGap(acknowledged: readonly Attempt[], fromMs: number): number {
  const gaps = acknowledged
    .slice(1)
    .map(({ endedMs }, i) => ({ endedMs, ms: endedMs - (acknowledged[i]?.endedMs ?? 0) }));
  const longest = gaps.filter(({ endedMs }) => endedMs > fromMs).sort((a, b) => b.ms - a.ms)[0];
  return longest?.endedMs ?? Number.NaN;
}

async function switchoverRun(side: Side, run: number): Promise<Measurement> {
  const observation = side.observe?.();
  let struckMs = Number.NaN;
  const result = await changeUnderLoad(side.port, () => {
    struckMs = performance.now();
    return side.switchover();
  });
  const observed = (await observation?.(struckMs, Number.POSITIVE_INFINITY)) ?? null;
  const errors: Record<string, number> = {};
  for (const line of result.errors) {
    const text = line.slice(0, 120);
    errors[text] = (errors[text] ?? 0) + 1;
  }
  if (result.failed > 0) errors['transactions that failed'] = result.failed;
  await side.settle();
  return {
    side: side.name,
    scenario: 'switchover',
    run,
    stallMs: result.stalls?.ofOneClientMs ?? null,
    stallOfAllMs: result.stalls?.ofAllMs ?? null,
    errors,
    reconnects: result.restarts,
    acknowledged: result.transactions,
    lost: result.lost,
    observed,
  };
}
