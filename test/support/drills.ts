import type { Attempt } from '../../proxy/drill/attempts.ts';
import type { CanaryResult } from '../../proxy/drill/canary.ts';
import { planDrill } from '../../proxy/drill/plan.ts';
import type { DrillNotes } from '../../proxy/drill/report.ts';
import type { Drills } from '../../proxy/drill/runner.ts';
import type { ClientCounts, DrillFacts, DrillRequest, NodeFacts, Sighting } from '../../proxy/drill/types.ts';

export const request = (kind: DrillRequest['kind'], changes: Partial<DrillRequest> = {}): DrillRequest => ({
  kind,
  target: null,
  seconds: null,
  what: 'postgres',
  override: [],
  dsn: null,
  by: 'test',
  ...changes,
});

export function node(name: string, changes: Partial<NodeFacts> = {}): NodeFacts {
  return {
    node: name,
    state: 'FOLLOWER',
    usable: true,
    streaming: true,
    lagBytes: 100,
    noFailover: false,
    priority: 50,
    rewindable: null,
    note: null,
    ...changes,
  };
}

/** Three healthy nodes under node1, two proxies, no drill so far. */
export function facts(changes: Partial<DrillFacts> = {}): DrillFacts {
  return {
    cluster: 'main',
    atMs: 1_000_000,
    term: 7,
    leader: 'node1',
    writable: true,
    held: false,
    maintenance: false,
    clientsPaused: false,
    nodes: [node('node1', { state: 'LEADER_OPEN', streaming: false, rewindable: true }), node('node2'), node('node3')],
    sync: { members: ['node2', 'node3'], k: 1 },
    server: { rewindHints: true, fullPageWrites: true, transactions: [], ddl: [], prepared: 0, backups: 0 },
    serverProblem: null,
    proxies: ['proxy1', 'proxy2'],
    self: 'proxy1',
    ttlMs: 5000,
    marginMs: 700,
    limits: {
      enabled: true,
      spacingMs: 60_000,
      maxSeconds: 60,
      maxTransactionMs: 5000,
      maxLagBytes: 1_000_000,
      window: null,
    },
    past: [],
    ...changes,
  };
}

export function attempts(...rows: [endedMs: number, outcome?: string][]): Attempt[] {
  return rows.map(([endedMs, outcome = 'acknowledged'], index) => ({
    id: index + 1,
    sentMs: endedMs - 1,
    endedMs,
    outcome,
  }));
}

export function canaryResult(changes: Partial<CanaryResult> = {}): CanaryResult {
  return {
    checked: true,
    writes: [],
    reads: [],
    ownReads: 0,
    stale: 0,
    backwards: 0,
    reconnects: 0,
    missing: [],
    unknownFound: 0,
    refusedFound: [],
    ...changes,
  };
}

/** A crash at 105: 4 writes acknowledged, one unknown, the next after 300 ms. */
export const writes = attempts([10], [100], [110, '08007'], [400], [410]);
export const timeline: Sighting[] = [
  { atMs: 0, type: 'struck', node: null, text: 'kills' },
  { atMs: 20, type: 'state', node: 'node1', text: 'node1: LEADER_OPEN → DEMOTING' },
  { atMs: 50, type: 'leader-gone', node: 'node1', text: 'gone' },
  { atMs: 60, type: 'state', node: 'node2', text: 'node2: FOLLOWER → PLEDGED' },
  { atMs: 120, type: 'leader-taken', node: 'node2', text: 'node2 is elected' },
  { atMs: 220, type: 'promoted', node: 'node2', text: 'promoted' },
  { atMs: 270, type: 'open', node: 'node2', text: 'open' },
];

export function drillNotes(changes: Partial<DrillNotes> = {}): DrillNotes {
  return {
    id: '20260101-000000-crash-0000',
    cluster: 'main',
    by: 'test',
    proxy: 'proxy1',
    plan: planDrill(request('crash'), facts()),
    startedAt: '2026-01-01T00:00:00.000Z',
    endedAt: '2026-01-01T00:00:05.000Z',
    startedMs: 0,
    endedMs: 500,
    struckMs: 105,
    inStepMs: 2105,
    aborted: false,
    problem: null,
    before: { leader: 'node1', term: 7 },
    after: { leader: 'node2', term: 8 },
    timeline,
    countsBefore: { holds: { served: 7, refused: 1, gone: 0 }, errors: { '42P01': 5, '40001': 1 } },
    countsAfter: { holds: { served: 10, refused: 1, gone: 0 }, errors: { '42P01': 5, '40001': 3, '08007': 1 } },
    worstLagBytes: null,
    canary: canaryResult({ writes, reads: attempts([100], [120]), unknownFound: 1 }),
    ...changes,
  };
}

export const NO_COUNTS: ClientCounts = { holds: { served: 0, refused: 0, gone: 0 }, errors: {} };

/** Drills of a proxy that has none. */
export const NO_DRILLS: Drills = {
  dryRun: () => Promise.reject(new Error('not here')),
  start: () => Promise.reject(new Error('not here')),
  abort: async () => null,
  running: async () => null,
  progress: () => null,
  list: async () => [],
  show: async () => null,
};
