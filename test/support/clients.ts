import { Client, type ClientConfig } from 'pg';

/** A client knows the process number that it was given; pg's types do not say so. */
export type PgClient = Client & { readonly processID: number };

/** The clients of a test file, all of which are ended with it. That a server ends a connection is no error of the test's. */
export class Clients {
  readonly #url: () => string;
  readonly #all: Client[] = [];

  /** @param url of the cluster, which is not there yet when the file begins */
  constructor(url: () => string) {
    this.#url = url;
  }

  async connect(more: ClientConfig = {}): Promise<PgClient> {
    const client = new Client({ connectionString: this.#url(), ...more });
    client.on('error', () => undefined);
    await client.connect();
    this.#all.push(client);
    return client as PgClient;
  }

  /** In the order in which they came. */
  get all(): readonly Client[] {
    return this.#all;
  }

  async end(): Promise<void> {
    for (const client of this.#all.splice(0)) await client.end().catch(() => undefined);
  }
}
