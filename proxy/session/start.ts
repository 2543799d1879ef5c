import { readyStatus, routeOfTransaction } from '../routing/transaction.ts';
import type { Backend } from '../pool/backend.ts';
import type { Pool } from '../pool/pool.ts';
import { readyForQuery } from '../wire/encode.ts';
import { onFollower, stateLost } from './errors.ts';
import { attach, place, placeAgain, placeSettled } from './placement.ts';
import { followerRequest } from './servers.ts';
import { mustSettle } from './settle.ts';
import { dropBackend } from './give-back.ts';
import { report, tellDoom } from './refuse.ts';
import type { Need } from './level.ts';
import { mayStillLead } from './release.ts';
import { sendUnit } from './send.ts';
import { losesState } from './sequences.ts';
import type { Session } from './session.ts';
import { tryPlace } from './try-place.ts';
import { mention, widenByExecuted } from './sql-statements.ts';
import { failingUnit, type Unit } from './unit.ts';

/** Finds a server for the unit and sends it: at once where that is possible, else the session's input waits. */
export function startUnit(session: Session, unit: Unit): void {
  session.unit = unit;
  if (unit.simple !== null && unit.plan.names !== null) mention(unit, unit.simple, session.statements);
  if (unit.plan.executes !== null) widenByExecuted(unit, session.statements, session.scope);
  if (session.transaction.kind === 'doomed') {
    report(session, unit, tellDoom(session));
    return;
  }
  if (session.backend !== null) {
    startOnOwn(session, unit, session.backend);
    return;
  }
  if (answeredAlone(session, unit)) return;
  const need = session.scoped.shadow ? shadowed(session, unit) : needOf(session, unit);
  if (need === 'leader' && mustSettle(session, unit, need)) {
    placeSettled(session, unit);
    return;
  }
  if (need !== 'follower' && session.home.parked !== null) {
    const { backend, pool } = session.home.leave() as { backend: Backend; pool: Pool };
    attach(session, { backend, pool, pass: null });
    startOnOwn(session, unit, backend);
    return;
  }
  const placed = tryPlace(session, unit, need);
  if (placed === 'placed') sendUnit(session, unit);
  else if (placed === 'no') place(session, unit, need);
}

/** Shadow mode: the leader it is, and what would have been is written down. */
function shadowed(session: Session, unit: Unit): Need {
  if (needOf(session, unit) !== 'follower') return 'leader';
  const { database, user } = session.client;
  session.context.shadow.note(database, user, followerRequest(session, unit, 'follower'), session.causalWaitMs);
  return 'leader';
}

/** The session has a server already: in a transaction, pinned, or by session pooling. */
function startOnOwn(session: Session, unit: Unit, backend: Backend): void {
  if (backend.place.role === 'follower') {
    const { needsLeader } = unit.plan;
    const failed = session.transaction.kind === 'open' && session.transaction.failed;
    sendUnit(session, needsLeader === null || failed ? unit : inVain(unit, needsLeader));
    return;
  }
  if (session.pass !== null) {
    if (mayStillLead(session, backend)) sendUnit(session, unit);
    else placeAgain(session, unit, backend);
    return;
  }
  const pass = session.context.gate.tryEnter();
  if (pass === null) {
    placeAgain(session, unit, backend);
    return;
  }
  session.pass = pass;
  if (pass.term === backend.place.term) sendUnit(session, unit);
  else ownIsOver(session, unit);
}

/** Its transaction is READ ONLY and on a follower, where nobody else would meet the lock, and the session keeps no cursor. */
function inVain(unit: Unit, what: string): Unit {
  for (const each of unit.entries.toReversed()) each.undo?.();
  return failingUnit(unit, onFollower(what));
}

/** Another server leads now. What is kept by session pooling alone can be had there as well. */
export function ownIsOver(session: Session, unit: Unit): void {
  if (losesState(session)) {
    session.terminate(stateLost('another server leads now', session.pins));
    return;
  }
  dropBackend(session);
  startUnit(session, unit);
}

/** Nothing in it needs a server: a Sync alone, or a Close of what only the proxy knows. */
function answeredAlone(session: Session, unit: Unit): boolean {
  if (!unit.complete) return false;
  for (const entry of unit.entries) if (entry.kind !== 'local' && entry.kind !== 'sync') return false;
  for (const entry of unit.entries) if (entry.kind === 'local') session.out.send(entry.bytes);
  session.out.send(readyForQuery(readyStatus(session.transaction)));
  session.unit = null;
  session.phase = 'idle';
  return true;
}

/** Client encodings in which a byte of a character may look like a quote or a backslash: nothing can be read in them. */
const UNREADABLE =
  /^['"]?(?:big5|gbk|gb18030|johab|sjis|mskanji|shift_?jis|shift_jis_2004|uhc|win932|win936|win949|win950)/i;

function isUnreadable(encoding: string | undefined): boolean {
  return encoding !== undefined && encoding !== 'UTF8' && UNREADABLE.test(encoding);
}

export function needOf(session: Session, unit: Unit): Need {
  const { transaction, settings } = session;
  if (unit.leaderOnly) return 'leader';
  // What is to outlast the transaction needs a server that the session can keep.
  if (unit.plan.pins.length > 0) return 'leader';
  if (unit.plan.meetsOthers) return 'leader';
  if (transaction.kind === 'deferred') return routeOfTransaction(transaction.modes, settings.transactionDefaults);
  // An autocommit statement is a transaction too, and a standby takes none of this kind.
  if (settings.transactionDefaults.isolation === 'serializable') return 'leader';
  // What comes before its Sync may be a write, and then the rest cannot go elsewhere.
  if (!unit.complete) return 'leader';
  if (isUnreadable(settings.valueOf('client_encoding')) || isUnreadable(session.told.get('client_encoding')))
    return 'leader';
  const { begin, committing, target } = unit.plan;
  // A batch that begins with BEGIN READ ONLY, as JDBC sends it; what could write in it fails by the client's own wish.
  if (begin !== null && unit.simple === null && !committing && beginsFirst(unit)) {
    return routeOfTransaction(begin, settings.transactionDefaults);
  }
  // What a role may set is in the catalog, and so is the role.
  if (target === 'any' && isSomebodyElse(settings)) return 'follower';
  return target;
}

/** What is carried out before it is a transaction of its own, and may write. */
function beginsFirst(unit: Unit): boolean {
  const first = unit.entries.find(({ kind }) => kind === 'execute' || kind === 'query' || kind === 'call');
  return first?.tracked?.statements[0]?.kind === 'begin';
}

function isSomebodyElse(settings: Session['settings']): boolean {
  return settings.valueOf('role') !== undefined || settings.valueOf('session_authorization') !== undefined;
}
