import type { PauseRecord, RouteRecord } from '../../election/store/records.ts';
import type { LeaderKey } from './cluster-reader.ts';
import type { LeaderTarget } from './types.ts';

/**
 * S5, pure: what this proxy itself has confirmed of a leader's lease. Times are milliseconds of the local clock.
 */
export interface Confirmation {
  /** Names one holding of the leader key. */
  readonly createRevision: number;
  /** The lease cannot have run out before this moment, margin taken off. */
  readonly untilMs: number;
}

/**
 * `sentAtMs` is when the question for the remaining time was *sent*: the answer was true at some later moment, so
 * counting from the sending can only be too early.
 */
export function confirm(
  createRevision: number,
  answer: { readonly sentAtMs: number; readonly remainingMs: number; readonly marginMs: number },
): Confirmation {
  return { createRevision, untilMs: answer.sentAtMs + answer.remainingMs - answer.marginMs };
}

/** What is known from the last snapshot and the last confirmation. */
export interface LeaseFacts {
  readonly route: RouteRecord | null;
  readonly leader: LeaderKey | null;
  readonly confirmation: Confirmation | null;
}

/** Until when the route's leader is known to lead (not whether it is open); -Infinity where it is not. */
export function leadsUntil(facts: LeaseFacts): number {
  const { route, leader, confirmation } = facts;
  if (route === null || leader === null || confirmation === null) return Number.NEGATIVE_INFINITY;
  if (leader.record.term !== route.term || leader.record.node !== route.leader) return Number.NEGATIVE_INFINITY;
  if (confirmation.createRevision !== leader.createRevision) return Number.NEGATIVE_INFINITY;
  return confirmation.untilMs;
}

/** The target of an open route, whatever the lease; null while it is held. */
export function openTarget(route: RouteRecord | null): LeaderTarget | null {
  if (route === null || route.hold) return null;
  return { term: route.term, node: route.leader, host: route.address.host, port: route.address.port, seq: route.seq };
}

/** For `explainNoLeader`; each moment is null where it does not apply. */
export interface ExplainFacts extends LeaseFacts {
  readonly pause: PauseRecord | null;
  readonly startedAtMs: number;
  readonly everReached: boolean;
  readonly unreachableSinceMs: number | null;
  readonly leaderLostAtMs: number | null;
  readonly heldSinceMs: number | null;
}

/** An election that takes longer waits for a node that may never come. */
const LONG_ELECTION_MS = 10_000;

/** For the error that a held statement gets at its deadline: what is known, and since when. */
export function explainNoLeader(facts: ExplainFacts, nowMs: number): string {
  const { route, leader } = facts;
  const ago = (sinceMs: number | null) => `${seconds(nowMs - (sinceMs ?? nowMs))} ago`;
  if (!facts.everReached) return `etcd has not been reached since this proxy started ${ago(facts.startedAtMs)}`;
  const named = route === null ? 'the leader' : `term ${route.term}'s leader ${route.leader}`;
  if (facts.unreachableSinceMs !== null) {
    const since = `etcd cannot be reached since ${seconds(nowMs - facts.unreachableSinceMs)}`;
    return leader === null
      ? `${since}; ${named} was lost before`
      : `${since}, so nobody can say whether ${named} still leads`;
  }
  if (route === null) return 'the cluster has never had a leader; look at the agents (leasehold status)';
  if (leader === null) {
    const lost = `${named} was lost ${ago(facts.leaderLostAtMs)}`;
    if (facts.pause !== null)
      return `${lost}, and automatic failover is paused by ${facts.pause.by} (leasehold resume)`;
    const lasting = nowMs - (facts.leaderLostAtMs ?? nowMs) > LONG_ELECTION_MS;
    if (lasting) return `${lost}, and nobody could be elected so far ("leasehold status" says what is awaited)`;
    return `${lost}, election under way`;
  }
  if (leader.record.term !== route.term) {
    return `${leader.record.node} took the lease for term ${leader.record.term} and is being promoted`;
  }
  if (route.hold)
    return `${named} holds writes since ${seconds(nowMs - (facts.heldSinceMs ?? nowMs))}, promotion or switchover under way`;
  if (leadsUntil(facts) <= nowMs) return `the lease of ${named} could not be confirmed in time`;
  return `${named} accepts writes again`;
}

export function seconds(ms: number): string {
  return ms < 9950 ? `${Math.max(0, ms / 1000).toFixed(1)} s` : `${Math.round(ms / 1000)} s`;
}
