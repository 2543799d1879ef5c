import pg from 'pg';
import { GuardedSocket } from '../../../common/guarded-socket.ts';
import { leftovers } from '../canary.ts';
import { MARKER } from './attack.ts';

const ANSWERS_WITHIN_MS = 10_000;

/** An honest client beside the fuzzed ones. What it notes is a fault of the proxy. */
export class Watcher {
  readonly faults: string[] = [];
  answers = 0;
  readonly #port: number;
  readonly #tolerant: boolean;
  readonly #clean: string;
  #running = true;
  #done: Promise<void>;

  /** `tolerant`: its servers misbehave, so it may be refused, but never told a wrong thing. */
  private constructor(port: number, tolerant: boolean, clean: string) {
    this.#port = port;
    this.#tolerant = tolerant;
    this.#clean = clean;
    this.#done = this.#watch();
  }

  static async start(port: number, tolerant: boolean): Promise<Watcher> {
    return new Watcher(port, tolerant, tolerant ? '' : await leftovers(port));
  }

  async stop(): Promise<void> {
    this.#running = false;
    await this.#done;
  }

  async #watch(): Promise<void> {
    for (let visit = 0; this.#running && this.faults.length < 20; visit++) {
      try {
        await this.#visit(visit);
      } catch (error) {
        if (!this.#tolerant) this.faults.push(`visit ${visit}: ${String(error)}`);
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    }
  }

  async #visit(visit: number): Promise<void> {
    const client = new pg.Client({
      host: '127.0.0.1',
      port: this.#port,
      user: 'app',
      password: 'app',
      database: 'app',
      query_timeout: ANSWERS_WITHIN_MS,
      stream: () => new GuardedSocket(),
    });
    client.on('error', () => undefined);
    await client.connect();
    try {
      for (let i = 0; i < 20 && this.#running; i++) {
        const nonce = `watch-${visit}-${i}`;
        const role = i % 2 === 0 ? 'leader' : 'follower';
        const sql = `/* leasehold: ${role} */ SELECT $1::text AS n, current_setting('fuzz.marker', true) AS m`;
        const { rows } = await client.query<{ n: string; m: string | null }>(sql, [nonce]);
        this.answers += 1;
        if (rows.length !== 1 || rows[0]?.n !== nonce)
          this.faults.push(`asked for ${nonce}, heard ${JSON.stringify(rows)}`);
        if (rows[0]?.m === MARKER) this.faults.push('the marker of a fuzzed session shows');
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    } finally {
      await client.end().catch(() => undefined);
    }
    if (this.#tolerant) return;
    const found = await leftovers(this.#port);
    if (found !== this.#clean) this.faults.push(`left on a server connection: ${found}`);
  }
}
