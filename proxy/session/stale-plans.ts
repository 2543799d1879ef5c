import { MAX_ATTEMPTS } from '../routing/retry.ts';
import { decodeBind, type ErrorFields } from '../wire/decode.ts';
import { bind, describe } from '../wire/encode.ts';
import type { Entry } from './exchange.ts';
import type { Prepared } from './prepared.ts';
import type { Session } from './session.ts';
import type { Unit } from './unit.ts';

/**
 * "cached plan must not change result type" (0A000): a statement that a server has from before some DDL. Who prepared it before
 * the DDL hears so from PostgreSQL as well, since it may hold what Describe told it then. Who prepares it now must not: the server
 * has it from another session, so it is prepared under a new name, and the unit runs again.
 */
export function meetsStalePlan(session: Session, entry: Entry, error: ErrorFields): boolean {
  const { unit, transaction, outcome, pins } = session;
  const { prepared } = entry;
  if (error.routine !== 'RevalidateCachedQuery' || unit === null) return false;
  if (prepared === null || prepared.serverName === '' || prepared.sql !== null) return false;
  // Nothing of the unit lasts, and nothing of its answer is out (S6).
  if (!unit.complete || unit.streamed || unit.plan.committing || outcome.completed > 0) return false;
  if (session.passedOn || unit.attempts >= MAX_ATTEMPTS) return false;
  if (transaction.kind === 'open' && (session.opening === null || pins.size > 0)) return false;
  return unit.entries.some((each) => each.kind === 'parse' && each.prepared === prepared);
}

/** The names that the session and the unit have for the statement now mean one that no server has yet. */
export function renewStatement(session: Session, prepared: Prepared, unit: Unit | null): void {
  const { named } = session.statements;
  const renewed = session.context.statements.renew(session.client.database, prepared);
  for (const [name, each] of named) if (each === prepared) named.set(name, renewed);
  if (unit === null) return;
  for (const [index, each] of unit.entries.entries()) {
    if (each.prepared === prepared) unit.entries[index] = { ...each, prepared: renewed, bytes: bytesOf(each, renewed) };
  }
}

function bytesOf({ kind, bytes }: Entry, renewed: Prepared): Buffer {
  switch (kind) {
    case 'parse':
      return renewed.parse;
    case 'bind': {
      const { portal, tailStart } = decodeBind(bytes, 5, bytes.length);
      return bind(portal, renewed.serverName, bytes.subarray(tailStart));
    }
    case 'describe':
      return describe('S', renewed.serverName);
    default:
      return bytes;
  }
}

/** In a failed transaction nothing else is even parsed. */
export function endsTransaction({ classification }: Prepared): boolean {
  const kind = classification.statements.length === 1 ? classification.statements[0]?.kind : undefined;
  return kind === 'commit' || kind === 'rollback' || kind === 'rollback-to' || kind === 'prepare-transaction';
}

/**
 * A Parse that no server is to be asked about, and that nothing else in the unit puts to the test: the server is asked to describe
 * it, so that it is found out now, and not when it is used, whether what the server has still holds.
 */
export function needsProbe(session: Session, unit: Unit, prepared: Prepared): boolean {
  if (session.transaction.kind === 'open' || !unit.complete || unit.streamed) return false;
  return !unit.entries.some(({ kind, prepared: of }) => (kind === 'bind' || kind === 'describe') && of === prepared);
}
