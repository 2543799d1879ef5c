import type { Credentials } from '../auth/types.ts';

/** Users whose newest proof is kept, and pairs of user and database; of others, that of the session which needs a pool is taken. */
const MAX_PROOFS = 10_000;

/** What each user last logged in with: an older session's proof is void once the password was changed. */
export class Proofs {
  /** Maps keep the order of insertion: the oldest is forgotten first. */
  readonly #byUser = new Map<string, Credentials>();
  readonly #pairs = new Map<string, { readonly user: string; readonly database: string }>();

  note(user: string, database: string, credentials: Credentials): void {
    renew(this.#byUser, user, credentials);
    renew(this.#pairs, `${user}\0${database}`, { user, database });
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
