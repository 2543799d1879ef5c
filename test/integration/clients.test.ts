import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { type LocalCluster, startLocalCluster } from '../support/local-cluster.ts';
import { clientProgram } from '../support/pgbench.ts';
import { hasPsycopg, PYTHON } from '../support/programs.ts';

/** Clients that know nothing of Leasehold, unmodified. */
let cluster: LocalCluster;

before(async () => {
  cluster = await startLocalCluster();
  await cluster.query('CREATE TABLE fruit(id serial PRIMARY KEY, name text NOT NULL)');
  await cluster.query("INSERT INTO fruit(name) VALUES ('apple'), ('pear')");
});
after(() => cluster?.stop());

test('psql: \\d shows a table, \\copy takes rows in and out, \\watch repeats', async () => {
  const described = await psql(['-c', '\\d fruit']);
  assert.match(described.stdout, /Indexes:\s+"fruit_pkey" PRIMARY KEY/);
  assert.match((await psql(['-c', '\\d'])).stdout, /public \| fruit\s+\| table/);

  const file = join(cluster.dir, 'fruit.csv');
  writeFileSync(file, Array.from({ length: 5000 }, (_, i) => `${i + 100},fruit ${i}\n`).join(''));
  assert.match((await psql(['-c', `\\copy fruit FROM '${file}' CSV`])).stdout, /COPY 5000/);
  const out = join(cluster.dir, 'out.csv');
  const script = [
    '-c',
    "INSERT INTO fruit VALUES (9999, 'last')",
    '-c',
    `\\copy (SELECT * FROM fruit ORDER BY id) TO '${out}' CSV`,
  ];
  assert.match((await psql(script)).stdout, /COPY 5003/);
  assert.match(readFileSync(out, 'utf8'), /9999,last\n$/);

  // psql buffers what it writes to a pipe; interrupted, it ends the repetition and prints all.
  const watched = await psql([], { input: 'SELECT count(*) FROM fruit \\watch 0.1\n', interruptAfterMs: 1500 });
  assert.ok((watched.stdout.match(/5003/g) ?? []).length >= 3, watched.stdout);
});

test('psql: Ctrl-C ends a long query and leaves the session usable', async () => {
  // Only at a terminal does psql go on after Ctrl-C: script(1) gives it one.
  const command = `${clientProgram('psql').path} -X -P pager=off -d ${cluster.dsn}`;
  const terminal = spawn('script', ['-qec', command, '/dev/null'], { env: clientProgram('psql').env });
  let screen = '';
  terminal.stdout.on('data', (chunk: Buffer) => (screen += chunk.toString()));
  const ended = new Promise((done) => terminal.once('close', done));
  terminal.stdin.write('SELECT pg_sleep(60);\n');
  await cluster.until('the query runs', async () => {
    const rows = await cluster.query('SHOW CLIENTS', { connectionString: cluster.dsn.replace(/app$/, 'leasehold') });
    return rows.some((row) => row['application_name'] === 'psql' && row['state'] === 'active');
  });
  terminal.stdin.write('\x03');
  await cluster.until('it was cancelled', () => /canceling statement due to user request/.test(screen), 10_000);
  terminal.stdin.write('SELECT 41 + 1 AS answer;\n');
  await cluster.until('the session goes on', () => /\b42\b/.test(screen), 10_000);
  terminal.stdin.write('\\q\n');
  await ended;
});

test('node-postgres: parameters, named statements, transactions, arrays and JSON', async () => {
  const client = await cluster.connect();
  const named = { name: 'by-id', text: 'SELECT name FROM fruit WHERE id = $1', values: [1] };
  assert.deepEqual((await client.query(named)).rows, [{ name: 'apple' }]);
  assert.deepEqual((await client.query({ ...named, values: [2] })).rows, [{ name: 'pear' }]);
  await client.query('BEGIN');
  await client.query('INSERT INTO fruit(id, name) VALUES ($1, $2)', [50, 'fig']);
  assert.deepEqual((await client.query({ ...named, values: [50] })).rows, [{ name: 'fig' }]);
  await client.query('ROLLBACK');
  assert.deepEqual((await client.query({ ...named, values: [50] })).rows, []);
  const { rows } = await client.query('SELECT $1::int[] AS list, $2::jsonb AS doc', [[1, 2], { a: [true] }]);
  assert.deepEqual(rows, [{ list: [1, 2], doc: { a: [true] } }]);
  await client.end();
});

test('psycopg: transactions, server-side cursor, prepared statements, pipeline, COPY', {
  skip: !hasPsycopg() && 'psycopg is missing',
}, async () => {
  const script = join(import.meta.dirname, '../support/psycopg_client.py');
  const { code, stdout, stderr } = await run(PYTHON, [script, cluster.dsn], {});
  assert.equal(code, 0, stderr);
  assert.equal(stdout.trim(), 'ok');
});

interface Finished {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function psql(args: string[], options: RunOptions = {}): Promise<Finished> {
  return run(clientProgram('psql').path, ['-X', '-v', 'ON_ERROR_STOP=1', '-d', cluster.dsn, ...args], options);
}

interface RunOptions {
  readonly input?: string;
  readonly interruptAfterMs?: number;
}

function run(program: string, args: string[], options: RunOptions): Promise<Finished> {
  const child = spawn(program, args, { env: clientProgram('psql').env, stdio: ['pipe', 'pipe', 'pipe'] });
  child.stdin.end(options.input ?? '');
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  const interruptAfterMs = options.interruptAfterMs ?? 0;
  const timer = interruptAfterMs > 0 ? setTimeout(() => child.kill('SIGINT'), interruptAfterMs) : undefined;
  return new Promise((done, reject) => {
    child.once('error', reject);
    child.once('close', (code) => {
      clearTimeout(timer);
      done({ code, stdout, stderr });
    });
  });
}
