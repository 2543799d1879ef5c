import { type Attempt, laneReport, seriesOf } from './attempts.ts';
import type { CanaryResult } from './canary.ts';
import { phasesOf } from './sightings.ts';
import type { Check, ClientCounts, DrillOutcome, DrillPlan, DrillReport, Sighting } from './types.ts';

/** What the engine noted of a drill. Times are of one clock; `struckMs` is when the fault was asked for. */
export interface DrillNotes {
  readonly id: string;
  readonly cluster: string;
  readonly by: string;
  readonly proxy: string;
  readonly plan: DrillPlan;
  readonly startedAt: string;
  readonly endedAt: string;
  readonly startedMs: number;
  readonly endedMs: number;
  /** Null: it never came to that. */
  readonly struckMs: number | null;
  readonly inStepMs: number | null;
  readonly aborted: boolean;
  readonly problem: string | null;
  readonly before: { readonly leader: string | null; readonly term: number };
  readonly after: { readonly leader: string | null; readonly term: number };
  readonly timeline: readonly Sighting[];
  readonly countsBefore: ClientCounts;
  readonly countsAfter: ClientCounts;
  readonly worstLagBytes: number | null;
  readonly canary: CanaryResult;
}

const MAX_SIGHTINGS = 120;

/** Pure. */
export function buildReport(notes: DrillNotes): DrillReport {
  const { plan, canary, before, after } = notes;
  const zero = notes.struckMs ?? notes.startedMs;
  const move = (attempts: readonly Attempt[]) =>
    attempts.map((one) => ({ ...one, sentMs: one.sentMs - zero, endedMs: one.endedMs - zero }));
  const writes = move(canary.writes);
  const reads = move(canary.reads);
  const writeLane = laneReport(writes, 0);
  const readLane = laneReport(reads, 0);
  const facts = {
    writes: {
      ...writeLane,
      checked: canary.checked,
      missing: canary.missing.length,
      refusedFound: canary.refusedFound.length,
      unknownFound: canary.unknownFound,
    },
    reads: readLane,
    ownReads: { done: canary.ownReads, stale: canary.stale, backwards: canary.backwards },
    inStepMs: notes.inStepMs === null ? null : notes.inStepMs - zero,
  };
  const checks = notes.struckMs === null ? [] : checksOf(notes, facts);
  return {
    version: 1,
    id: notes.id,
    kind: plan.kind,
    cluster: notes.cluster,
    by: notes.by,
    proxy: notes.proxy,
    startedAt: notes.startedAt,
    endedAt: notes.endedAt,
    outcome: outcomeOf(notes, checks),
    problem: notes.problem,
    plan,
    leaderBefore: before.leader,
    leaderAfter: after.leader,
    termBefore: before.term,
    termAfter: after.term,
    phases: phasesOf(notes.timeline, before.leader, writes),
    ...facts,
    reconnects: canary.reconnects,
    ...growth(notes.countsBefore, notes.countsAfter),
    worstLagBytes: notes.worstLagBytes,
    checks,
    timeline: notes.timeline.slice(0, MAX_SIGHTINGS),
    series: seriesOf(writes, reads, notes.startedMs - zero, notes.endedMs - zero),
  };
}

type Measured = Pick<DrillReport, 'writes' | 'reads' | 'ownReads' | 'inStepMs'>;

function outcomeOf({ aborted, problem }: DrillNotes, checks: readonly Check[]): DrillOutcome {
  if (checks.some((check) => !check.passed)) return 'failed';
  if (aborted) return 'aborted';
  return problem === null ? 'passed' : 'failed';
}

/** What must be so after any drill of the kind. */
function checksOf({ plan, before, after, aborted, canary }: DrillNotes, measured: Measured): Check[] {
  const { writes, reads, ownReads, inStepMs } = measured;
  const looked = canary.checked;
  const checks: Check[] = [
    check(
      'acknowledged',
      looked && writes.missing === 0,
      'every acknowledged write is there',
      looked ? `${writes.missing} acknowledged writes are MISSING` : 'the writes could NOT be looked up',
    ),
    check(
      'refused',
      writes.refusedFound === 0,
      'no refused write is there',
      `${writes.refusedFound} refused writes are there`,
    ),
    check(
      'fresh',
      ownReads.stale === 0 && ownReads.backwards === 0,
      'no session read older data than it had written or seen',
      `${ownReads.stale} reads did not show the session's own write, ${ownReads.backwards} went backwards`,
    ),
    check('resumed', writes.stallMs !== null, 'writes go on', 'writes did NOT go on'),
    check('in-step', inStepMs !== null, 'every node is in step again', 'a node is NOT in step yet'),
  ];
  if (plan.kind === 'switchover') {
    const errors = count(writes.errors) + count(reads.errors);
    checks.push(check('errors', errors === 0, 'no client saw an error', `clients saw ${errors} errors`));
  }
  if (plan.kind === 'etcd' || plan.kind === 'lag') {
    const failed = count(reads.errors);
    checks.push(check('reads', failed === 0, 'reads went on without an error', `${failed} reads failed`));
  }
  if (plan.changesLeader && !aborted) {
    const moved = after.term > before.term;
    const to = plan.kind === 'switchover' ? after.leader === plan.target : moved;
    checks.push(check('leader', moved && to, `${after.leader} leads`, `${after.leader ?? 'nobody'} leads, as before`));
  }
  return checks;
}

function growth(from: ClientCounts, to: ClientCounts): Pick<DrillReport, 'holds' | 'clientErrors'> {
  const { served, refused, gone } = to.holds;
  const grown = Object.entries(to.errors).map(([code, n]) => [code, n - (from.errors[code] ?? 0)] as const);
  return {
    holds: {
      served: served - from.holds.served,
      refused: refused - from.holds.refused,
      gone: gone - from.holds.gone,
    },
    clientErrors: Object.fromEntries(grown.filter(([, n]) => n > 0)),
  };
}

function check(name: string, passed: boolean, yes: string, no: string): Check {
  return { name, passed, text: passed ? yes : no };
}

function count(errors: Readonly<Record<string, number>>): number {
  return Object.values(errors).reduce((sum, one) => sum + one, 0);
}
