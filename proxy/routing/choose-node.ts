import type { FreshnessSnapshot, NodeFreshness } from '../../replication-monitor/types.ts';

/** ROUTING.md, "Consistency levels". */
export type ConsistencyLevel = 'eventual' | 'session' | 'database' | 'strong';

/**
 * What a session has seen. All times are the proxy's monotonic clock in milliseconds, -Infinity for "never".
 *
 * `committedAtMs`: taken just before the bytes that told the client of a commit (ReadyForQuery 'I' after leader work
 * that may have written) were given to the socket.
 * `lastReadAtMs`: taken when the last byte of the last read's answer had arrived from the server, never earlier: a
 * server shows what it had replayed when the read began, and it may have replayed more than any sample knew.
 * Reads on the leader count too.
 * `lastNode`: the node of that read; null when it is known that it was lost since.
 */
export interface ConsistencyFloor {
  readonly committedAtMs: number;
  readonly lastReadAtMs: number;
  readonly lastNode: string | null;
}

export interface FollowerRequest {
  readonly level: ConsistencyLevel;
  readonly floor: ConsistencyFloor;
  /** As `committedAtMs`, over all sessions of the database on this proxy. Used by the level `database` only. */
  readonly databaseFloorMs: number;
  readonly maxStalenessMs: number;
  /** Units of work that this proxy has on the node. */
  inFlight(node: string): number;
  /** Nodes that were tried already for this unit. */
  readonly exclude: ReadonlySet<string>;
  /** Uniform in [0, 1). */
  readonly random: number;
}

export type FollowerChoice =
  | { readonly kind: 'follower'; readonly node: string }
  /** A usable follower exists, but none is fresh enough yet: wake the monitor, wait up to `causalWaitMs`, then the leader. */
  | { readonly kind: 'wait' }
  | { readonly kind: 'leader' };

const WAIT: FollowerChoice = { kind: 'wait' };
const LEADER: FollowerChoice = { kind: 'leader' };

/**
 * Which follower serves a read (DESIGN.md, "Freshness without clocks or cost"). Among the eligible ones, the less
 * busy of two drawn at random: as good as the least busy in practice, and it does not herd.
 *
 * Read the snapshot anew for each call; the answer must not be kept.
 */
export function chooseFollower(snapshot: FreshnessSnapshot, request: FollowerRequest): FollowerChoice {
  if (request.level === 'strong') return LEADER;
  let usable = 0;
  let eligible = 0;
  for (const node of snapshot.nodes.values()) {
    if (!mayServe(node, request.exclude)) continue;
    usable += 1;
    if (isFreshEnough(node, snapshot, request)) eligible += 1;
  }
  if (eligible === 0) return usable > 0 ? WAIT : LEADER;
  return draw(snapshot, request, eligible);
}

function mayServe(node: NodeFreshness, exclude: ReadonlySet<string>): boolean {
  return node.usable && node.role === 'follower' && !exclude.has(node.node);
}

function isFreshEnough(node: NodeFreshness, snapshot: FreshnessSnapshot, request: FollowerRequest): boolean {
  const freshAsOfMs = node.freshAsOfMs;
  // Measured from the leader's last word, not from now: while there is no leader nothing newer exists, and reads go on.
  // Written so that a NaN makes the follower ineligible.
  const isBounded = request.maxStalenessMs !== Number.POSITIVE_INFINITY;
  if (isBounded && !(snapshot.leaderHeardAtMs - freshAsOfMs <= request.maxStalenessMs)) return false;
  if (request.level === 'eventual') return true;
  const floor = request.floor;
  if (!(freshAsOfMs >= floor.committedAtMs)) return false;
  // What this session read, its follower still shows, as long as it has not been started anew since.
  const isSame = node.node === floor.lastNode && node.runningSinceMs <= floor.lastReadAtMs;
  if (!isSame && !(freshAsOfMs >= floor.lastReadAtMs)) return false;
  return request.level !== 'database' || freshAsOfMs >= request.databaseFloorMs;
}

function draw(snapshot: FreshnessSnapshot, request: FollowerRequest, eligible: number): FollowerChoice {
  const scaled = request.random * eligible;
  const first = Math.min(eligible - 1, Math.floor(scaled));
  // The fraction that the first draw left over is as uniform as the number was.
  const offset = eligible === 1 ? 0 : 1 + Math.min(eligible - 2, Math.floor((scaled - first) * (eligible - 1)));
  const second = (first + offset) % eligible;
  let index = 0;
  let a: string | null = null;
  let b: string | null = null;
  for (const node of snapshot.nodes.values()) {
    if (!mayServe(node, request.exclude) || !isFreshEnough(node, snapshot, request)) continue;
    if (index === first) a = node.node;
    if (index === second) b = node.node;
    index += 1;
  }
  if (a === null || b === null) return LEADER;
  return choiceOf(a === b || request.inFlight(a) <= request.inFlight(b) ? a : b);
}

/** One object per node name, so that choosing allocates nothing. */
const choices = new Map<string, FollowerChoice>();
const MAX_CHOICES = 1024;

function choiceOf(node: string): FollowerChoice {
  let choice = choices.get(node);
  if (choice === undefined) {
    if (choices.size >= MAX_CHOICES) choices.clear();
    choice = { kind: 'follower', node };
    choices.set(node, choice);
  }
  return choice;
}
