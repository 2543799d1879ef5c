import type { Backend } from '../pool/backend.ts';
import type { Session } from './session.ts';
import type { Unit } from './unit.ts';

/**
 * The session (its `processId`) that alone has used sequences on a connection; MIXED: several may have.
 *
 * What `currval` and `lastval` give is kept by a server's session, and must be this client's: never what another one left on
 * a pooled connection. A session that asks for them keeps its connection from then on, and so does, from its first write, every later session
 * of that user in that database, since its program will ask too.
 */
const usedBy = new WeakMap<Backend, number>();
const MIXED = -1;
const MAX_READERS = 1_000;

/** Users, by database, whose programs ask for such values. One for each process. */
export class SequenceReaders {
  readonly #keys = new Set<string>();

  has(session: Session): boolean {
    return this.#keys.size > 0 && this.#keys.has(keyOf(session));
  }

  add(session: Session): void {
    if (this.#keys.size < MAX_READERS) this.#keys.add(keyOf(session));
  }
}

function keyOf({ client }: Session): string {
  return `${client.database}\0${client.user}`;
}

/** Called for work on the leader outside of a transaction: whether the values of others must be forgotten there first. */
export function mustForgetSequences(session: Session, unit: Unit, backend: Backend): boolean {
  const { plan } = unit;
  if (!plan.mayWrite || usedBy.get(backend) === session.processId) return false;
  const asks = plan.pins.includes('sequence-values');
  if (!asks && session.pins.size === 0 && !session.home.wanted && !session.context.sequenceReaders.has(session)) {
    usedBy.set(backend, MIXED);
    return false;
  }
  usedBy.set(backend, session.processId);
  return true;
}

/**
 * Its server is gone: whether more is gone with it than values of sequences. Those are not yet defined in the session then,
 * as in a new one, and `currval` says so: never a wrong value, and nothing for which a session should end.
 */
export function losesState({ pins }: Session): boolean {
  pins.delete('sequence-values');
  return pins.size > 0;
}

/** Whether the session has anything on its server that cannot be made anew. */
export function keepsState({ pins }: Session): boolean {
  return pins.size > (pins.has('sequence-values') ? 1 : 0);
}

/** After leader work: a session that asked, or will ask, keeps its connection. */
export function pinForSequences(session: Session, unit: Unit): void {
  const { plan } = unit;
  if (!plan.mayWrite) return;
  const { sequenceReaders } = session.context;
  if (plan.pins.includes('sequence-values')) sequenceReaders.add(session);
  else if (!sequenceReaders.has(session)) return;
  session.pins.add('sequence-values'); // also after an error: the next try finds its own
}
