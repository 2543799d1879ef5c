import type { Backend, BackendUser } from '../pool/backend.ts';
import { runInternal } from '../pool/internal-query.ts';
import type { Pool } from '../pool/pool.ts';
import { ERROR, NOTICE, PARAMETER_STATUS } from '../wire/message-types.ts';
import { NO_SETTINGS } from '../routing/settings-image.ts';
import { INTERNAL_TIMEOUT_MS } from './limits.ts';

/**
 * Session pooling: the leader connection that a client has to itself. Whatever is not a plain read runs there; meanwhile a
 * follower may serve a read, and the connection waits here. It is a convenience, not a pin: when it is lost, the
 * session takes another one, unless a pin says that something on it cannot be made anew.
 */
export class Home implements BackendUser {
  /** Decided at log-in: a reload is for those who come later. */
  readonly wanted: boolean;
  #backend: Backend | null = null;
  #pool: Pool | null = null;

  constructor(wanted: boolean) {
    this.wanted = wanted;
  }

  /** The connection that waits here; null: there is none, or the session is using it. */
  get parked(): Backend | null {
    return this.#backend;
  }

  /** Whether a connection that the session is done with stays its own. */
  keeps(backend: Backend): boolean {
    return this.wanted && backend.place.role === 'leader' && this.#backend === null && !backend.closed;
  }

  park(backend: Backend, pool: Pool): void {
    this.#backend = backend;
    this.#pool = pool;
    backend.attach(this);
    backend.resume();
  }

  /** The connection is its session's again, which attaches itself. */
  leave(): { readonly backend: Backend; readonly pool: Pool } | null {
    const backend = this.#backend;
    const pool = this.#pool;
    this.#backend = null;
    this.#pool = null;
    return backend === null || pool === null ? null : { backend, pool };
  }

  /** The client is gone: the connection goes back to its pool as good as new. */
  giveUp(): void {
    const left = this.leave();
    if (left !== null) resetAndGive(left.backend, left.pool);
  }

  onBackendMessage(type: number): void {
    // After an ERROR, a FATAL, the end of the connection follows.
    if (type !== NOTICE && type !== PARAMETER_STATUS && type !== ERROR) this.#backend?.lose('the server spoke unasked');
  }

  onBackendPart(): void {
    this.#backend?.lose('the server spoke unasked');
  }

  onBackendChunkEnd(): void {}

  onBackendDrain(): void {}

  onBackendLost(): void {
    this.#backend = null;
    this.#pool = null;
  }
}

/** Takes everything of a session off a connection, what nobody noted too. One that does not answer is closed. */
export function resetAndGive(backend: Backend, pool: Pool): void {
  backend.detach();
  void runInternal(backend, 'DISCARD ALL', INTERNAL_TIMEOUT_MS).then(
    () => {
      backend.statements.clear();
      backend.unnamedOwner = null;
      backend.doubtedBy = null;
      backend.settings = NO_SETTINGS;
      pool.give(backend);
    },
    () => backend.destroy(),
  );
}
