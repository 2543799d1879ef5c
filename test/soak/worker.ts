import type { Random } from '../simulation/random.ts';
import type { Message } from '../fuzz/messages.ts';
import { ConnectionLost, type Reply, SoakConnection } from './connection.ts';
import type { Ledger } from './ledger.ts';
import { ALL_TASKS } from './tasks.ts';

export interface WorkerContext {
  readonly port: number;
  readonly ledger: Ledger;
  /** Errors that a leader's change explains; empty while the leader stays. */
  readonly expected: ReadonlySet<string>;
  readonly thinkMs: number;
  readonly running: () => boolean;
  /** When all are to come at once: resolves at the next storm. */
  readonly storm: () => Promise<void>;
}

/** One client that comes, works, and goes in many ways, again and again. Whatever is not as it should be goes to the ledger. */
export class Worker {
  readonly #id: number;
  readonly #random: Random;
  readonly #context: WorkerContext;
  #serial = 0;
  #visit = 0;
  #connection: SoakConnection | null = null;
  /** Of this connection: the newest row that it was told is committed. */
  #lastWritten = 0;

  constructor(id: number, random: Random, context: WorkerContext) {
    this.#id = id;
    this.#random = random;
    this.#context = context;
  }

  async run(): Promise<void> {
    await this.#think(20);
    while (this.#context.running()) {
      try {
        await this.#visitOnce();
      } catch (error) {
        this.#complain(error);
        this.#connection?.vanish();
        await this.#think(5);
      }
    }
  }

  #complain(error: unknown): void {
    const { ledger, expected } = this.#context;
    const text = error instanceof Error ? error.message : String(error);
    const state = error instanceof ConnectionLost ? text.slice(0, 5) : 'error';
    if (expected.has(state) || (expected.size > 0 && error instanceof ConnectionLost)) ledger.expectedErrors += 1;
    else ledger.fault(`client ${this.#id}: ${text}`);
  }

  async #visitOnce(): Promise<void> {
    const random = this.#random;
    this.#visit += 1;
    this.#lastWritten = 0;
    this.#connection = await SoakConnection.open(this.#context.port, `soak-${this.#id}-${this.#visit}`);
    this.#context.ledger.connections += 1;
    const tasks = 1 + random.below(random.chance(0.2) ? 100 : 15);
    for (let i = 0; i < tasks && this.#context.running(); i++) {
      await TASKS[random.below(TASKS.length)]?.(this);
      this.#context.ledger.requests += 1;
      await this.#think(1);
    }
    await this.#part();
  }

  /** Half of them say good-bye, the others end in the middle of something. */
  async #part(): Promise<void> {
    const random = this.#random;
    const connection = this.connection;
    const way = random.below(10);
    if (way < 5) connection.leave();
    else if (way === 5) connection.vanish();
    else if (way === 6) {
      await this.ask('BEGIN');
      connection.send({
        type: 'query',
        sql: `INSERT INTO soak VALUES (${this.#id}, ${this.nextSerial()}, 'abandoned')`,
      });
      if (random.chance(0.5)) await connection.answer();
      connection.reset();
    } else if (way === 7) {
      connection.send({ type: 'query', sql: "SELECT repeat('z', 1000) FROM generate_series(1, 20000)" });
      connection.vanish();
    } else if (way === 8) {
      await this.ask('COPY soak FROM STDIN');
      connection.send({ type: 'copy-data', text: `${this.#id}\t${this.nextSerial()}\taband` });
      connection.vanish();
    } else {
      connection.send({ type: 'query', sql: 'SELECT pg_sleep(0.2)' });
      connection.reset();
    }
    if (random.chance(0.05)) await this.#context.storm();
    else await this.#think(2);
  }

  get connection(): SoakConnection {
    return this.#connection as SoakConnection;
  }

  get random(): Random {
    return this.#random;
  }

  get id(): number {
    return this.#id;
  }

  get lastWritten(): number {
    return this.#lastWritten;
  }

  nextSerial(): number {
    this.#serial += 1;
    return this.#serial;
  }

  /** A text that nobody else has. */
  nonce(): string {
    return `n${this.#id}.${this.#visit}.${this.nextSerial()}`;
  }

  ask(sql: string): Promise<Reply> {
    return this.#expecting([{ type: 'query', sql }], null);
  }

  request(...messages: Message[]): Promise<Reply> {
    return this.#expecting(messages, null);
  }

  /** An error with another SQLSTATE than this one, or none at all, is a fault. */
  failing(sql: string, state: string): Promise<Reply> {
    return this.#expecting([{ type: 'query', sql }], state);
  }

  async #expecting(messages: Message[], state: string | null): Promise<Reply> {
    return this.judge(await this.connection.request(...messages), state, messages);
  }

  judge(reply: Reply, state: string | null, messages: readonly Message[]): Reply {
    const { ledger, expected } = this.#context;
    if (reply.error !== null && reply.error.state !== state) {
      if (!expected.has(reply.error.state)) {
        ledger.fault(
          `client ${this.#id}: ${reply.error.state} ${reply.error.text} after ${JSON.stringify(messages).slice(0, 200)}`,
        );
      }
      throw new TaskEnded();
    }
    if (state !== null && reply.error === null)
      ledger.fault(`client ${this.#id}: no error ${state} for ${JSON.stringify(messages)}`);
    return reply;
  }

  /** What came must be the own text, and nothing else. */
  mine(reply: Reply, nonce: string): void {
    const heard = reply.rows.map((row) => row[0]).join();
    if (heard !== nonce)
      this.#context.ledger.fault(
        `client ${this.#id} asked for ${nonce} and heard ${JSON.stringify(heard.slice(0, 200))}`,
      );
  }

  wrong(text: string): void {
    this.#context.ledger.fault(`client ${this.#id}: ${text}`);
  }

  acknowledged(serial: number): void {
    this.#context.ledger.acknowledge(this.#id, serial);
    this.#lastWritten = serial;
  }

  refused(serial: number): void {
    this.#context.ledger.refuse(this.#id, serial);
  }

  #think(factor: number): Promise<void> {
    return new Promise((resolve) => setTimeout(resolve, this.#random.between(0, 2) * this.#context.thinkMs * factor));
  }
}

/** A task that met an expected error: the connection goes on. */
class TaskEnded extends Error {}

const TASKS = ALL_TASKS.map((task) => async (worker: Worker): Promise<void> => {
  try {
    await task(worker);
  } catch (error) {
    if (!(error instanceof TaskEnded)) throw error;
    if (!worker.connection.closed) await worker.connection.query('ROLLBACK');
  }
});
