import type { Credentials } from '../auth/types.ts';

/** Users whose newest proof is kept, and pairs of user and database; of others, that of the session which needs a pool is taken. */
const MAX_PROOFS = 10_000;

/** What each user last logged in with: an older session's proof is void once the password was changed. */
export class Proofs {
  /** Maps keep the order of insertion: the oldest is forgotten first. */
  readonly #byUser = new Map<string, Credentials>();
  readonly #pairs = new Map<string, { readonly user: string; readonly database: string }>();

  /** Returns the one to use from now on: who was let in without a proof (trust, cert) brings none that could replace an older one. */
  note(user: string, database: string, credentials: Credentials): Credentials {
    const newest = credentials.kind === 'none' ? (this.#byUser.get(user) ?? credentials) : credentials;
    renew(this.#byUser, user, newest);
    renew(this.#pairs, `${user}\0${database}`, { user, database });
    return newest;
  }

  of(user: string): Credentials | undefined {
    return this.#byUser.get(user);
  }

  *pairs(): Generator<{ readonly user: string; readonly database: string; readonly credentials: Credentials }> {
    for (const { user, database } of this.#pairs.values()) {
      const credentials = this.#byUser.get(user);
      if (credentials !== undefined) yield { user, database, credentials };
    }
  }
}

function renew<T>(map: Map<string, T>, key: string, value: T): void {
  map.delete(key);
  map.set(key, value);
  if (map.size <= MAX_PROOFS) return;
  for (const oldest of map.keys()) {
    map.delete(oldest);
    return;
  }
}
