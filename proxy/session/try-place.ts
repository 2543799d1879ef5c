import type { LeaderPass } from '../cluster/types.ts';
import type { Pool } from '../pool/pool.ts';
import type { Need } from './level.ts';
import { attach, startWaiting, stopWaiting } from './placement.ts';
import { QueuedUnit } from './queued-unit.ts';
import { choose, followerPool, leaderPool } from './servers.ts';
import type { Session } from './session.ts';
import { mustSettle } from './settle.ts';
import type { Unit } from './unit.ts';

/**
 * The fast path: a fresh follower, or the leader, with an idle connection (`placed`), or the wait for one of that server (`queued`: the
 * unit is sent when it comes). `no`: nothing is kept.
 */
export function tryPlace(session: Session, unit: Unit, need: Need): 'placed' | 'queued' | 'no' {
  if (need !== 'leader') {
    const choice = choose(session, unit, need);
    if (choice.kind === 'wait') return 'no';
    if (choice.kind === 'follower') {
      const pool = followerPool(session, choice.node);
      return pool === null ? 'no' : takeOrQueue(session, unit, need, pool, null);
    }
  }
  if (need === 'follower' && mustSettle(session, unit, need)) return 'no';
  const pass = session.context.gate.tryEnter();
  if (pass === null) return 'no';
  return takeOrQueue(session, unit, need, leaderPool(session, pass), pass);
}

function takeOrQueue(
  session: Session,
  unit: Unit,
  need: Need,
  pool: Pool,
  pass: LeaderPass | null,
): 'placed' | 'queued' | 'no' {
  const backend = pool.tryTake();
  if (backend !== null) {
    attach(session, { backend, pool, pass });
    return 'placed';
  }
  const queued = new QueuedUnit(session, unit, need, pool, pass);
  startWaiting(session, queued);
  if (pool.enqueue(queued)) return 'queued';
  stopWaiting(session);
  pass?.leave();
  return 'no';
}
