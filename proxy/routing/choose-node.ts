import type { FreshnessSnapshot, NodeFreshness } from '../../replication-monitor/types.ts';
import { FollowerDraw } from './follower-draw.ts';
import type { NodeLoad } from './node-load.ts';

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
 * `lastNode`: the node of that read; null when it is known that it was lost since, or where it may not show what was read before.
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
  /** What this proxy does on the node, and how fast that answers. */
  loadOf(node: string): NodeLoad;
  readonly nowMs: number;
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
/** Used anew by each call, so that choosing allocates nothing. */
const drawn = new FollowerDraw();

/**
 * Which follower serves a read (DESIGN.md, "Freshness without clocks or cost"). Of the eligible ones those of the best rank; of these
 * two are drawn at random, by weight, and the one with the lower cost serves (peak EWMA of latency, times the work that is
 * there): as good as the least of all in practice, and it does not herd.
 *
 * Read the snapshot anew for each call; the answer must not be kept.
 */
export function chooseFollower(snapshot: FreshnessSnapshot, request: FollowerRequest): FollowerChoice {
  if (request.level === 'strong') return LEADER;
  let usable = 0;
  drawn.count = 0;
  for (const node of snapshot.nodes.values()) {
    if (!mayServe(node, request.exclude)) continue;
    usable += 1;
    if (isFreshEnough(node, snapshot, request)) drawn.add(node, request);
  }
  if (drawn.count === 0) return usable > 0 ? WAIT : LEADER;
  return choiceOf(drawn.draw(request));
}

/** A follower that is no further behind is worth a wait, once. */
const MAX_FIRST_WAIT_MS = 1_000;
/** What sampling adds to a follower's lag. */
const SAMPLING_MS = 200;

/**
 * How long the first read of a session may wait: a follower that stays as far behind as it is shows a moment when so much time has
 * passed. `causalWaitMs` where none is near enough.
 */
export function firstReadWaitMs(snapshot: FreshnessSnapshot, floorMs: number, causalWaitMs: number): number {
  let leastMs = Number.POSITIVE_INFINITY;
  for (const { usable, role, freshAsOfMs } of snapshot.nodes.values()) {
    if (usable && role === 'follower') leastMs = Math.min(leastMs, floorMs - freshAsOfMs);
  }
  return leastMs <= MAX_FIRST_WAIT_MS ? Math.max(causalWaitMs, leastMs + SAMPLING_MS) : causalWaitMs;
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
