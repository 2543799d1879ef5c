/**
 * What followers show and the leader does not: a commit's record is written and sent to followers first, then the leader waits for its
 * quorum, and only then shows the commit. Whoever reads on a follower and then on the leader would miss it for that while.
 *
 * Positions cannot tell when it is over: between a position's confirmation and the moment at which its transaction leaves the leader's
 * list of running ones lies whatever the operating system likes. Transaction ids can. The leader is asked in a request sent at local time t
 * which ones are running. A follower that is asked after that which of these it shows as committed names all that it has ever shown
 * before t and the leader had not yet: a transaction was finished on the leader by then, or is among the running ones. As
 * soon as those are not running any more, what the follower showed before t is *settled*: every snapshot that the leader takes from then on has it.
 *
 * Open transactions, however long, delay nothing: no follower shows them.
 */
export interface Settled {
  /** The leader's newest answer in this term; null: none yet. */
  readonly running: Running | null;
  /** What any follower showed before this moment is settled: by the word of one that had replayed as much as there was then. */
  readonly everywhereMs: number;
  readonly nodes: ReadonlyMap<string, NodeSettled>;
}

export interface NodeSettled {
  /** What this follower has shown before this moment is settled, as far as its server ran without a break. */
  readonly asOfMs: number;
  readonly pending: readonly Pending[];
}

/** Transactions that the leader was running; from `xmax` on none was known to have ended. */
export interface Running {
  readonly sentAtMs: number;
  readonly xmax: bigint;
  readonly xids: readonly bigint[];
}

/** What a follower said of them. `committed`: those that it shows; null: there were too many to name. */
export interface Shown {
  readonly asked: Running;
  readonly committed: readonly bigint[] | null;
}

/** Shown by a follower, and when the leader was asked last it was still running them. */
interface Pending {
  readonly sentAtMs: number;
  /** The same, for what any follower showed. */
  readonly everywhereMs: number;
  readonly committed: readonly bigint[];
}

/** Answers of one follower that wait to be settled; of more only the oldest are kept. */
const MAX_PENDING = 8;

export const NOTHING_SETTLED: Settled = { running: null, everywhereMs: -Infinity, nodes: new Map() };

/** Another leader, with other running transactions. What was settled stays so: it was confirmed, and elections lose nothing confirmed. */
export function underNewLeader({ everywhereMs, nodes }: Settled): Settled {
  const kept = [...nodes].map(([name, { asOfMs }]): [string, NodeSettled] => [name, { asOfMs, pending: [] }]);
  return { running: null, everywhereMs, nodes: new Map(kept) };
}

export function afterLeader(settled: Settled, running: Running): Settled {
  let next: Settled = { ...settled, running };
  for (const [name, { pending }] of settled.nodes) if (pending.length > 0) next = resolved(next, name);
  return next;
}

/**
 * `freshAsOfMs`: when it was asked it had replayed all that the leader had inserted at that moment, so it shows whatever any follower showed
 * before. It can say so of older moments than the question's: what was running then and still is, the question names.
 */
export function afterFollower(settled: Settled, name: string, shown: Shown, freshAsOfMs: number): Settled {
  const { asked, committed } = shown;
  const everywhereMs = Math.min(asked.sentAtMs, freshAsOfMs);
  const node = settled.nodes.get(name) ?? { asOfMs: -Infinity, pending: [] };
  if (committed === null || node.pending.length >= MAX_PENDING) return settled;
  const added = { ...node, pending: [...node.pending, { sentAtMs: asked.sentAtMs, everywhereMs, committed }] };
  return resolved({ ...settled, nodes: new Map(settled.nodes).set(name, added) }, name);
}

/** Its connection is lost: what comes back may be another server's life. */
export function withoutPending(settled: Settled, name: string): Settled {
  const node = settled.nodes.get(name);
  if (node === undefined || node.pending.length === 0) return settled;
  return { ...settled, nodes: new Map(settled.nodes).set(name, { ...node, pending: [] }) };
}

function resolved(settled: Settled, name: string): Settled {
  const { running, nodes } = settled;
  const node = nodes.get(name);
  if (running === null || node === undefined) return settled;
  let { everywhereMs } = settled;
  let { asOfMs } = node;
  const pending: Pending[] = [];
  for (const one of node.pending) {
    const committed = one.committed.filter((xid) => xid >= running.xmax || running.xids.includes(xid));
    if (committed.length > 0) {
      pending.push({ ...one, committed });
      continue;
    }
    asOfMs = Math.max(asOfMs, one.sentAtMs);
    everywhereMs = Math.max(everywhereMs, one.everywhereMs);
  }
  return { running, everywhereMs, nodes: new Map(nodes).set(name, { asOfMs, pending }) };
}
