/**
 * What this proxy does on one node and how fast the node answers. Mutable, so that a query allocates nothing. All times are the
 * proxy's monotonic clock in milliseconds.
 */
export interface NodeLoad {
  /** Connections in use, and clients that wait for one. Kept by the pools. */
  busy: number;
  waiting: number;
  /** `proxy.routing.weights`: its share among equals; 0: only if there is no other. */
  weight: number;
  /** It is in another zone than this proxy. */
  foreign: boolean;
  /** Time to the first byte of an answer: a moving average that follows peaks at once and forgets them slowly. */
  latencyMs: number;
  latencyAtMs: number;
  /** Requests without a byte of their answer, and since when none of them was answered; Infinity: there are none. */
  outstanding: number;
  silentSinceMs: number;
  /** Failures in a row, and how often they have put it aside. */
  failures: number;
  ejections: number;
  ejectedUntilMs: number;
  /** It may serve; since when. */
  serving: boolean;
  servingSinceMs: number;
}

/** The average forgets two thirds of what it knew in this time, and goes down where nothing is measured: a slow node is tried again. */
const DECAY_MS = 5_000;
/** One slow statement says little of its node: no measurement counts for more. */
const MAX_LATENCY_MS = 250;
/** Nothing is faster: differences below it are noise. */
const MIN_LATENCY_MS = 0.5;
/** So many failures in a row put a follower aside. */
const FAILURES_TO_EJECT = 3;
const EJECT_MS = 1_000;
const MAX_EJECT_MS = 30_000;
/** A follower that comes back gets its full share after this time, and a tenth at first. */
export const SLOW_START_MS = 10_000;
const FIRST_SHARE = 0.1;

export function newNodeLoad(): NodeLoad {
  return {
    busy: 0,
    waiting: 0,
    weight: 1,
    foreign: false,
    latencyMs: 0,
    latencyAtMs: 0,
    outstanding: 0,
    silentSinceMs: Infinity,
    failures: 0,
    ejections: 0,
    ejectedUntilMs: -Infinity,
    serving: false,
    servingSinceMs: -Infinity,
  };
}

export function onAsked(load: NodeLoad, nowMs: number): void {
  if (load.outstanding === 0) load.silentSinceMs = nowMs;
  load.outstanding += 1;
}

/** The first byte of an answer came: the node works. */
export function onAnswered(load: NodeLoad, askedAtMs: number, nowMs: number): void {
  forget(load, nowMs);
  load.failures = 0;
  if (nowMs - load.ejectedUntilMs > MAX_EJECT_MS) load.ejections = 0;
  const ms = Math.min(nowMs - askedAtMs, MAX_LATENCY_MS);
  const kept = Math.exp(-Math.max(0, nowMs - load.latencyAtMs) / DECAY_MS);
  load.latencyMs = ms > load.latencyMs * kept ? ms : load.latencyMs * kept + ms * (1 - kept);
  load.latencyAtMs = nowMs;
}

/** A request ended without an answer, for reasons that say nothing of the node. */
export function forget(load: NodeLoad, nowMs: number): void {
  load.outstanding -= 1;
  load.silentSinceMs = load.outstanding === 0 ? Infinity : nowMs;
}

/** A connection was lost, or could not be made. `unreachable`: it is put aside at once. */
export function onFailed(load: NodeLoad, nowMs: number, unreachable: boolean): void {
  if (nowMs < load.ejectedUntilMs) return;
  load.failures += 1;
  if (load.failures < FAILURES_TO_EJECT && !unreachable) return;
  load.ejectedUntilMs = nowMs + Math.min(MAX_EJECT_MS, EJECT_MS * 2 ** load.ejections);
  load.ejections += 1;
  load.failures = 0;
  load.servingSinceMs = load.ejectedUntilMs;
}

/** Whether it may serve has been looked at anew: one that comes back starts slowly, and what it failed at before is forgotten. */
export function noteServing(load: NodeLoad, serves: boolean, nowMs: number): void {
  if (serves && !load.serving) {
    load.servingSinceMs = nowMs;
    load.ejectedUntilMs = -Infinity;
    load.ejections = 0;
    load.failures = 0;
  }
  load.serving = serves;
}

/** Its share among others now. */
export function shareOf(load: NodeLoad, nowMs: number): number {
  const age = (nowMs - load.servingSinceMs) / SLOW_START_MS;
  if (age >= 1) return load.weight;
  return load.weight * (FIRST_SHARE + (1 - FIRST_SHARE) * Math.max(0, age));
}

/** How long one more request would take, roughly: what two followers are compared by. */
export function costOf(load: NodeLoad, share: number, nowMs: number): number {
  const average = load.latencyMs * Math.exp(-Math.max(0, nowMs - load.latencyAtMs) / DECAY_MS);
  // A node that is asked and does not answer shows no latency at all.
  const silentMs = nowMs - load.silentSinceMs;
  return Math.max(MIN_LATENCY_MS, average, silentMs) * (1 + (load.busy + load.waiting) / Math.max(share, 0.01));
}
