import { setTimeout as sleep } from 'node:timers/promises';
import { ClientError, LeaseholdError } from '../../common/errors.ts';
import type { Term } from '../../common/lsn.ts';
import type { NodeFreshness } from '../../replication-monitor/types.ts';
import type { LeaderPass } from '../cluster/types.ts';
import type { Backend } from '../pool/backend.ts';
import type { Pool } from '../pool/pool.ts';
import { PoolFullError } from '../pool/pool-error.ts';
import { chooseFollower, type FollowerChoice, type FollowerRequest } from '../routing/choose-node.ts';
import { levelOf, type Need } from './level.ts';
import { FENCE_LIMIT_MS, LEADER_RETRY_MS } from './limits.ts';
import type { Session } from './session.ts';
import { isSettledNow, mustSettle, settle } from './settle.ts';
import type { Unit } from './unit.ts';
import { waitForFollower } from './waits.ts';

/** What a unit runs on. `pass` for work on the leader. */
export interface Placed {
  readonly backend: Backend;
  readonly pool: Pool;
  readonly pass: LeaderPass | null;
}

/** A connection for the need, however long that takes within the limits. Rejects with what the client is to be told. */
export async function find(session: Session, unit: Unit, need: Need, signal: AbortSignal): Promise<Placed> {
  if (need !== 'leader') {
    const found = await findFollower(session, unit, need, signal);
    if (found !== null && !(found instanceof ClientError)) return found;
    return await findLeader(session, mustSettle(session, unit, need), signal, found);
  }
  return await findLeader(session, false, signal);
}

/** Where no follower serves: why, if it is a reason that the leader would have as well. */
async function findFollower(
  session: Session,
  unit: Unit,
  need: Need,
  signal: AbortSignal,
): Promise<Placed | ClientError | null> {
  let refusal: ClientError | null = null;
  for (;;) {
    let choice = choose(session, unit, need);
    if (choice.kind === 'wait') choice = await waitForFollower(session, () => choose(session, unit, need), signal);
    if (choice.kind !== 'follower') return refusal;
    const pool = followerPool(session, choice.node);
    if (pool === null) return refusal;
    try {
      const backend = await pool.take(signal);
      if (!backend.closed) return { backend, pool, pass: null };
    } catch (error) {
      // A full pool is the client's to know. Whatever else a follower has against us, another server may not.
      if (error instanceof PoolFullError || signal.aborted) throw error;
      if (isEverywhere(error)) refusal ??= error;
    }
    unit.avoid(choice.node);
  }
}

/** `settles`: it must show what the session has read on a follower. */
export async function findLeader(
  session: Session,
  settles: boolean,
  signal: AbortSignal,
  refusal: ClientError | null = null,
): Promise<Placed> {
  const { clock, config } = session.context;
  const startedMs = clock.nowMs();
  for (;;) {
    const pass = await enter(session, settles, signal, refusal);
    const pool = leaderPool(session, pass);
    try {
      const backend = await pool.take(signal);
      if (!backend.closed && session.context.lease.stillLeads(pass.term)) {
        return { backend, pool, pass };
      }
      pool.give(backend);
      pass.leave();
    } catch (error) {
      pass.leave();
      const waitedMs = clock.nowMs() - startedMs;
      if (!isPassing(error, waitedMs) || signal.aborted || waitedMs > config.hold.deadlineMs) throw error;
      if (refusal !== null) throw refusal;
      // The route is open and its leader does not answer: it is going, or coming. Ask again until the deadline.
      await sleep(LEADER_RETRY_MS, undefined, { signal });
    }
  }
}

/** Waits for the gate, and for a leader that shows what it must; a leader that goes meanwhile is waited for again. */
export async function enter(
  session: Session,
  settles: boolean,
  signal: AbortSignal,
  refusal: ClientError | null = null,
): Promise<LeaderPass> {
  const { gate } = session.context;
  for (;;) {
    const pass = gate.tryEnter() ?? (await held(session, signal, refusal));
    if (!settles || isSettledNow(session)) return pass;
    pass.leave();
    await settle(session, signal);
  }
}

async function held(session: Session, signal: AbortSignal, refusal: ClientError | null): Promise<LeaderPass> {
  const { clock, gate, metrics } = session.context;
  if (refusal !== null) throw refusal;
  const sinceMs = clock.nowMs();
  session.waitingFor = 'leader';
  let outcome: 'served' | 'refused' | 'gone' = 'refused';
  try {
    const pass = await gate.enter(signal);
    outcome = 'served';
    return pass;
  } catch (error) {
    if (signal.aborted) outcome = 'gone';
    throw error;
  } finally {
    const heldMs = clock.nowMs() - sinceMs;
    session.activity.holdMs += heldMs;
    metrics.holdEnded(heldMs, outcome);
    session.waitingFor = 'connection';
  }
}

/** Refusals that end by themselves: the server is starting, stopping, not there, or not open to clients yet. */
function isPassing(error: unknown, waitedMs: number): boolean {
  if (error instanceof PoolFullError) return false;
  if (error instanceof ClientError)
    return error.sqlState.startsWith('57P') || (isFenced(error) && waitedMs < FENCE_LIMIT_MS);
  return error instanceof LeaseholdError && LOST.has(error.code);
}

/** Nothing of the client's was sent: a connection could not be made, or went while it was made ready. */
const LOST = new Set(['BACKEND_UNREACHABLE', 'BACKEND_LOST', 'BACKEND_TIMEOUT']);

/** `no pg_hba.conf entry`: a node is fenced while it does not lead (invalid_authorization_specification). */
function isFenced(error: ClientError): boolean {
  return error.sqlState === '28000' && error.message.includes('pg_hba.conf'); // a file's name: in every language
}

/**
 * Refusals that are replicated: no such database, no right to connect to it, no such role. The leader may know better
 * (a follower lags), but it is not worth waiting for one.
 */
function isEverywhere(error: unknown): error is ClientError {
  if (!(error instanceof ClientError)) return false;
  const { sqlState } = error;
  return sqlState === '3D000' || sqlState === '42501' || (sqlState === '28000' && !isFenced(error));
}

export function choose(session: Session, unit: Unit, need: Need): FollowerChoice {
  const { hinted } = unit.plan;
  if (need === 'follower' && hinted === null && session.level === 'strong') return NOBODY_ELSE;
  return chooseFollower(session.context.monitor.snapshot, followerRequest(session, unit, need));
}

const NOBODY_ELSE: FollowerChoice = { kind: 'leader' };
const NONE: ReadonlySet<string> = new Set();

export function followerRequest(session: Session, unit: Unit, need: Need): FollowerRequest {
  const { databaseFloors, pools } = session.context;
  const any = need === 'any';
  return {
    level: levelOf(session, unit, need),
    floor: session.floor,
    databaseFloorMs: databaseFloors.get(session.client.database) ?? -Infinity,
    maxStalenessMs: any ? Infinity : session.maxStalenessMs,
    loadOf: pools.loadOf,
    nowMs: session.context.clock.nowMs(),
    exclude: unit.tried ?? NONE,
    random: Math.random(),
  };
}

export function followerPool(session: Session, node: string): Pool | null {
  const at: NodeFreshness | undefined = session.context.monitor.snapshot.nodes.get(node);
  if (at === undefined) return null;
  return poolAt(session, node, at.host, at.port, null);
}

export function leaderPool(session: Session, pass: LeaderPass): Pool {
  const { node, host, port, term } = pass;
  return poolAt(session, node, host, port, term);
}

/** Most often the one that served the session last. `term`: of the leader; null: a follower. */
function poolAt(session: Session, node: string, host: string, port: number, term: Term | null): Pool {
  const last = session.lastPool;
  if (last !== null && !last.closed) {
    const { place } = last.options;
    if (place.node === node && place.term === term && place.port === port && place.host === host) return last;
  }
  const { user, database, credentials } = session.client;
  const role = term === null ? 'follower' : 'leader';
  const pool = session.context.pools.poolOf({ node, host, port, role, term }, user, database, credentials);
  session.lastPool = pool;
  return pool;
}
