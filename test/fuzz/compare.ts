import pg from 'pg';
import type { ProxyCluster } from '../support/proxy-cluster.ts';
import { agreement } from './allowed.ts';
import { leftovers } from './canary.ts';
import { schemaOf } from './grammar.ts';
import { printItem } from './messages.ts';
import { withoutCrash } from './known-crash.ts';
import { type Hearing, play } from './player.ts';
import { type Program, RESETS } from './program.ts';

const PATIENT_MS = 20_000;
const IMPATIENT_MS = 1_000;

export interface Difference {
  /** Which of the programs heard something else. */
  readonly program: Program;
  readonly direct: Hearing;
  readonly proxied: Hearing;
}

/** Plays programs on the leader itself and through the proxy, with the same state of the database before each. */
export class Comparison implements AsyncDisposable {
  readonly #cluster: ProxyCluster;
  readonly #admin: pg.Client;
  /** The proxy has heard of currval from this user: the first such question may find no value (CHANGELOG, known limits). */
  #askedForSequences = false;
  /** What a client finds on connections that nobody has soiled. */
  #clean = '';

  private constructor(cluster: ProxyCluster, admin: pg.Client) {
    this.#cluster = cluster;
    this.#admin = admin;
  }

  static async open(cluster: ProxyCluster): Promise<Comparison> {
    const { port } = cluster.node(cluster.leader);
    const admin = new pg.Client({ host: cluster.folder, port, user: 'postgres', database: 'app' });
    await admin.connect();
    await admin.query("SET client_min_messages = error; SET lock_timeout = '15s'");
    // What programs leave outside their own schema would be found by the next.
    await admin.query(
      'ALTER SCHEMA public OWNER TO postgres; REVOKE CREATE ON SCHEMA public FROM PUBLIC, pg_database_owner',
    );
    const comparison = new Comparison(cluster, admin);
    comparison.#clean = await leftovers(cluster.port);
    return comparison;
  }

  /** Null: all heard the same. The programs run at once through the proxy, so that they share its pools. */
  async run(drawn: readonly Program[], silenceMs = PATIENT_MS): Promise<Difference | null> {
    const programs = drawn.map((program) => ({ ...program, items: withoutCrash(program.items) }));
    const { port } = this.#cluster.node(this.#cluster.leader);
    const direct = await this.#play(programs, port, silenceMs);
    // What is not compared is not waited for either: the connection is to be left in order, that is all.
    const patienceMs = direct.every(isLegal) ? silenceMs : Math.min(silenceMs, IMPATIENT_MS);
    const proxied = await this.#play(programs, this.#cluster.port, patienceMs);
    const left = await leftovers(this.#cluster.port);
    if (left !== this.#clean) {
      await this.#dropConnections();
      const hearing = (text: string): Hearing => ({ lines: text.split('\n'), end: 'answered' });
      return { program: programs.at(-1) as Program, direct: hearing(this.#clean), proxied: hearing(left) };
    }
    for (const [i, program] of programs.entries()) {
      const [expected, heard] = [direct[i] as Hearing, proxied[i] as Hearing];
      const difference = { program, direct: expected, proxied: heard };
      if (!isLegal(expected) || same(difference)) continue;
      const line = heard.lines[firstDifference(difference)] ?? '';
      const first = !this.#askedForSequences && NO_VALUE.test(line);
      if (first) this.#askedForSequences = true;
      else return difference;
    }
    return null;
  }

  /** Those that carry something of their former users, so that it is not found again. */
  async #dropConnections(): Promise<void> {
    for (const node of this.#cluster.nodes.keys()) {
      await this.#cluster.sql(node, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'");
    }
  }

  async #play(programs: readonly Program[], port: number, silenceMs: number): Promise<Hearing[]> {
    try {
      return await Promise.all(programs.map((program) => play(program, port, silenceMs)));
    } finally {
      // A transaction that nobody ended holds locks: then this fails.
      for (const { session } of programs) await this.#admin.query(`DROP SCHEMA IF EXISTS ${schemaOf(session)} CASCADE`);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#admin.end();
  }
}

const NO_VALUE = /^E .* C55000 M(?:currval of sequence|lastval is not yet)/;

/** A server that ended the connection was spoken to as no client may (a query in the middle of COPY data, for instance). */
export function isLegal(direct: Hearing): boolean {
  return direct.end === 'answered' && !direct.lines.some((line) => line.startsWith('E SFATAL'));
}

function same(difference: Difference): boolean {
  const { direct, proxied } = difference;
  const agreed = firstDifference(difference);
  const all = Math.max(direct.lines.length, proxied.lines.length);
  return agreed === Infinity || (direct.end === proxied.end && agreed === all);
}

/** The first lines that differ, without what varies in them: equal ones are likely one fault. */
export function signature(difference: Difference): string {
  const { direct, proxied } = difference;
  const at = firstDifference(difference);
  const mask = (hearing: Hearing): string =>
    (hearing.lines[at] ?? `(${hearing.end})`).replace(/\d+/g, '0').replace(/"[a-z0-9_]*"/g, '"x"');
  return `${mask(direct)} ≠ ${mask(proxied)}`;
}

function firstDifference({ program, direct, proxied }: Difference): number {
  const resets = program.items.some((item) => item.type === 'parse' && RESETS.test(item.sql));
  return agreement(direct.lines, proxied.lines, resets);
}

/** The sequence, and both answers from shortly before where they part. */
export function report(difference: Difference): string {
  const { program, direct, proxied } = difference;
  const at = firstDifference(difference);
  const excerpt = (hearing: Hearing): string[] => [
    ...hearing.lines.slice(Math.max(0, at - 4), at + 8),
    `(${hearing.end})`,
  ];
  return [
    `  topics ${program.topics.join(', ')}${program.cuts === 0 ? '' : `, cut into pieces (${program.cuts})`}`,
    ...program.items.map((item) => `    ${printItem(item)}`),
    '  direct:',
    ...excerpt(direct).map((line) => `    ${line}`),
    '  through the proxy:',
    ...excerpt(proxied).map((line) => `    ${line}`),
  ].join('\n');
}
