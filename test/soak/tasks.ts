import type { Message } from '../fuzz/messages.ts';
import type { Worker } from './worker.ts';

type Task = (worker: Worker) => Promise<void>;

const SYNC: Message = { type: 'sync' };

function bound(statement: string, values: readonly (string | null)[]): Message[] {
  return [
    { type: 'bind', portal: '', statement, formats: [], values, results: [] },
    { type: 'execute', portal: '', maxRows: 0 },
  ];
}

const insert: Task = async (worker) => {
  const serial = worker.nextSerial();
  const nonce = worker.nonce();
  const reply = await worker.ask(`INSERT INTO soak VALUES (${worker.id}, ${serial}, '${nonce}') RETURNING nonce`);
  worker.acknowledged(serial);
  worker.mine(reply, nonce);
};

const readOwn: Task = async (worker) => {
  const { lastWritten, id } = worker;
  if (lastWritten === 0) return insert(worker);
  const reply = await worker.ask(`SELECT serial FROM soak WHERE client = ${id} AND serial = ${lastWritten}`);
  worker.mine(reply, String(lastWritten));
};

const readText: Task = async (worker) => {
  const nonce = worker.nonce();
  worker.mine(await worker.ask(`SELECT '${nonce}'`), nonce);
};

const readUnnamed: Task = async (worker) => {
  const nonce = worker.nonce();
  const reply = await worker.request(
    { type: 'parse', name: '', sql: 'SELECT $1::text', oids: [] },
    ...bound('', [nonce]),
    SYNC,
  );
  worker.mine(reply, nonce);
};

/** The same few names for all clients, with other texts. */
const prepared: Task = async (worker) => {
  const nonce = worker.nonce();
  const name = `s${worker.random.below(4)}`;
  const sql = `SELECT $1::text || '-${worker.random.below(30)}'`;
  const messages: Message[] = [
    { type: 'close', kind: 'S', name },
    { type: 'parse', name, sql, oids: [] },
    ...bound(name, [nonce]),
    SYNC,
  ];
  const reply = await worker.request(...messages);
  if (reply.rows[0]?.[0]?.startsWith(`${nonce}-`) !== true) worker.mine(reply, nonce);
  const again = await worker.request(...bound(name, [nonce]), SYNC);
  if (again.rows[0]?.[0] !== reply.rows[0]?.[0])
    worker.wrong(`${name} answered ${String(again.rows[0]?.[0])} after ${String(reply.rows[0]?.[0])}`);
};

const transaction: Task = async (worker) => {
  const serial = worker.nextSerial();
  const nonce = worker.nonce();
  await worker.ask('BEGIN');
  await worker.ask(`INSERT INTO soak VALUES (${worker.id}, ${serial}, '${nonce}')`);
  worker.mine(await worker.ask(`SELECT nonce FROM soak WHERE client = ${worker.id} AND serial = ${serial}`), nonce);
  if (worker.random.chance(0.3)) {
    await worker.ask('ROLLBACK');
    worker.refused(serial);
    return;
  }
  const { tags } = await worker.ask('COMMIT');
  if (tags[0] === 'COMMIT') worker.acknowledged(serial);
  else worker.wrong(`COMMIT answered ${String(tags[0])}`);
};

const failedTransaction: Task = async (worker) => {
  const serial = worker.nextSerial();
  await worker.ask('BEGIN');
  await worker.ask(`INSERT INTO soak VALUES (${worker.id}, ${serial}, 'never')`);
  await worker.failing('SELECT 1/0', '22012');
  const { tags } = await worker.ask('COMMIT');
  if (tags[0] !== 'ROLLBACK') worker.wrong(`COMMIT of a failed transaction answered ${String(tags[0])}`);
  worker.refused(serial);
};

const readOnly: Task = async (worker) => {
  const nonce = worker.nonce();
  await worker.ask('BEGIN READ ONLY');
  worker.mine(await worker.ask(`SELECT '${nonce}'`), nonce);
  await worker.ask('COMMIT');
};

const copyIn: Task = async (worker) => {
  const serials = [worker.nextSerial(), worker.nextSerial(), worker.nextSerial()];
  const text = serials.map((serial) => `${worker.id}\t${serial}\tcopied\n`).join('');
  const [sql, fails] = ['COPY soak FROM STDIN', worker.random.chance(0.2)];
  const started: Message = { type: 'query', sql };
  if (worker.random.chance(0.5)) await worker.request(started);
  else worker.connection.send(started);
  worker.connection.send(
    { type: 'copy-data', text },
    fails ? { type: 'copy-fail', text: 'no' } : { type: 'copy-done' },
  );
  worker.judge(await worker.connection.answer(), fails ? '57014' : null, [started]);
  for (const serial of serials) {
    if (fails) worker.refused(serial);
    else worker.acknowledged(serial);
  }
};

const copyOut: Task = async (worker) => {
  const nonce = worker.nonce();
  const { copied } = await worker.ask(`COPY (SELECT '${nonce}' FROM generate_series(1, 300)) TO STDOUT`);
  const wrong = copied.find((line) => line !== `${nonce}\n`);
  if (copied.length !== 300 || wrong !== undefined)
    worker.wrong(`COPY of ${nonce} gave ${copied.length} rows, ${String(wrong)}`);
};

const pipeline: Task = async (worker) => {
  const nonces = Array.from({ length: 8 }, () => worker.nonce());
  const messages = nonces.flatMap((nonce): Message[] => [
    { type: 'parse', name: '', sql: 'SELECT $1::text', oids: [] },
    ...bound('', [nonce]),
    SYNC,
  ]);
  const { rows } = await worker.request(...messages);
  if (rows.map((row) => row[0]).join() !== nonces.join())
    worker.wrong(`a pipeline of ${nonces.join()} gave ${rows.join()}`);
};

const listen: Task = async (worker) => {
  const channel = `soak_${worker.id}`;
  const nonce = worker.nonce();
  await worker.ask(`LISTEN ${channel}`);
  const { notified } = await worker.ask(`NOTIFY ${channel}, '${nonce}'`);
  await worker.ask('UNLISTEN *');
  if (notified.join() !== nonce) worker.wrong(`notified of ${notified.join()} and not of ${nonce}`);
};

const temporary: Task = async (worker) => {
  const nonce = worker.nonce();
  await worker.ask(`CREATE TEMP TABLE mine AS SELECT '${nonce}' AS n`);
  worker.mine(await worker.ask('SELECT n FROM mine'), nonce);
  await worker.ask('DROP TABLE mine');
};

const settings: Task = async (worker) => {
  const nonce = worker.nonce();
  await worker.ask(`SET soak.mine = '${nonce}'`);
  worker.mine(await worker.ask("SELECT current_setting('soak.mine')"), nonce);
  await worker.ask('BEGIN');
  await worker.ask("SET LOCAL soak.mine = 'inner'");
  await worker.ask('ROLLBACK');
  worker.mine(await worker.ask('SHOW soak.mine'), nonce);
  await worker.ask('RESET soak.mine');
};

const errors: Task = async (worker) => {
  await worker.failing('SELECT 1/0', '22012');
  await worker.failing('SELEKT', '42601');
  await worker.failing('SELECT * FROM nosuch', '42P01');
};

const cancelled: Task = async (worker) => {
  worker.connection.send({ type: 'query', sql: 'SELECT pg_sleep(30)' });
  await new Promise((resolve) => setTimeout(resolve, 30));
  let reply: Awaited<ReturnType<typeof worker.connection.answer>> | null = null;
  const answer = worker.connection.answer().then((each) => (reply = each));
  while (reply === null) {
    // One that comes too early cancels nothing, as with PostgreSQL.
    await Promise.race([
      worker.connection.cancel().then(() => new Promise((resolve) => setTimeout(resolve, 300))),
      answer,
    ]);
  }
  worker.judge(reply, '57014', [{ type: 'query', sql: 'SELECT pg_sleep(30)' }]);
};

const slowReader: Task = async (worker) => {
  const nonce = worker.nonce();
  worker.connection.send({
    type: 'query',
    sql: `SELECT '${nonce}' || repeat('x', 2000) FROM generate_series(1, 1500)`,
  });
  await worker.connection.readSlowly(400);
  const { rows } = worker.judge(await worker.connection.answer(), null, []);
  const wrong = rows.find((row) => row[0]?.startsWith(`${nonce}x`) !== true);
  if (rows.length !== 1500 || wrong !== undefined)
    worker.wrong(`a slow reader of ${nonce} got ${rows.length} rows, ${String(wrong?.[0]?.slice(0, 50))}`);
};

/** Common ones several times. */
export const ALL_TASKS: readonly Task[] = [
  insert,
  insert,
  insert,
  readOwn,
  readOwn,
  readOwn,
  readText,
  readText,
  readUnnamed,
  readUnnamed,
  prepared,
  prepared,
  transaction,
  transaction,
  failedTransaction,
  readOnly,
  copyIn,
  copyOut,
  pipeline,
  listen,
  temporary,
  settings,
  errors,
  cancelled,
  slowReader,
];
