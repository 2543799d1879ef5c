import type { Session } from './session.ts';
import { noteImage, undoResets } from './tracking.ts';

/** No transaction is open any more. `onLeader`: what it wrote can be seen by others now, unless it failed. */
export function onTransactionEnd(session: Session, onLeader: boolean, succeeded: boolean): void {
  const before = session.settings.image;
  if (!succeeded && session.unit?.plan.committing !== true) undoResets(session);
  session.settings.endTransaction(succeeded);
  noteImage(session, before);
  session.statements.portals.clear();
  session.statements.unnamedPortal = null;
  session.outcome.forget();
  if (session.wrote && onLeader) {
    const nowMs = session.context.clock.nowMs();
    session.floor.committedAtMs = nowMs;
    session.context.databaseFloors.set(session.client.database, nowMs);
  }
  session.wrote = false;
  if (!session.changedSchema) return;
  session.changedSchema = false;
  if (session.changedCalls) session.context.catalogOf(session.client.database).invalidate();
  session.changedCalls = false;
  session.context.statements.forgetDatabase(session.client.database);
}
