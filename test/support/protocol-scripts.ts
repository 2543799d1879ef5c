import * as encode from '../../proxy/wire/encode.ts';

/** One exchange: what is sent at once, and the message types that end its answer (how many of them). */
export interface Step {
  readonly send: readonly Buffer[];
  readonly until: string;
  readonly count: number;
}

const { bind, close, describe, execute, FLUSH, query, SYNC } = encode;

const parse = (name: string, text: string): Buffer => encode.parse(name, Buffer.from(text));
const copyData = (text: string): Buffer => message('d', Buffer.from(text));
const COPY_DONE = message('c', Buffer.alloc(0));
const copyFail = (why: string): Buffer => message('f', Buffer.from(`${why}\0`));

function message(type: string, body: Buffer): Buffer {
  const out = Buffer.alloc(5 + body.length);
  out.write(type, 0, 'latin1');
  out.writeInt32BE(4 + body.length, 1);
  body.copy(out, 5);
  return out;
}

/** A Bind with text parameters. */
function bindText(portal: string, statement: string, values: readonly string[]): Buffer {
  const head = Buffer.alloc(4);
  head.writeInt16BE(values.length, 2);
  const parts = values.map((value) => {
    const size = Buffer.alloc(4);
    size.writeInt32BE(Buffer.byteLength(value));
    return Buffer.concat([size, Buffer.from(value)]);
  });
  return bind(portal, statement, Buffer.concat([head, ...parts, Buffer.alloc(2)]));
}

const step = (send: readonly Buffer[], until: string, count: number): Step => ({ send, until, count });
/** One text by the simple protocol. */
const q = (text: string): Step => step([query(text)], 'Z', 1);
const texts = (...list: string[]): Step[] => list.map((text) => q(text));
const sync = (...send: Buffer[]): Step => step([...send, SYNC], 'Z', 1);
const run = (text: string, ...values: string[]): Step =>
  sync(parse('', text), bindText('', '', values), describe('P', ''), execute(''));

const LONG = 'x'.repeat(200_000);

/** Each script runs on a fresh connection, and leaves nothing behind. */
export const SCRIPTS: Readonly<Record<string, readonly Step[]>> = {
  'simple statements, an empty query, several in one text': [
    q('SELECT 1 AS a, NULL AS b, $$x$$ AS c'),
    q(''),
    q(';;'),
    q('SELECT 1; SELECT 2'),
    q('SELECT 1; SELECT 1/0; SELECT 3'),
    q('SELEKT'),
    q('SELECT 1'),
  ],
  'queries sent without waiting for answers': [
    step([query('SELECT 1'), query('SELECT 2'), query('SELECT nope'), query('SELECT 3')], 'Z', 4),
    step([query('BEGIN'), query('SELECT 1'), query('COMMIT'), query('SELECT 2')], 'Z', 4),
  ],
  'extended: parse, bind, describe, execute': [
    run('SELECT $1::int + 1, $2::text', '41', 'x'),
    sync(parse('', 'SELECT $1::text'), describe('S', '')),
    sync(bindText('', '', ['again']), execute('')),
    sync(bindText('', '', ['a']), describe('P', ''), execute('')),
    run(''),
    sync(),
    sync(),
    run('SELECT generate_series(1, 3)'),
  ],
  'errors in a pipeline void what follows up to Sync': [
    step(
      [
        parse('', 'SELECT 1'),
        bind('', ''),
        execute(''),
        parse('', 'SELECT 1/0'),
        bind('', ''),
        execute(''),
        parse('', 'SELECT 3'),
        bind('', ''),
        execute(''),
        SYNC,
        parse('', 'SELECT 4'),
        bind('', ''),
        execute(''),
        SYNC,
      ],
      'Z',
      2,
    ),
    sync(parse('', 'SELEKT'), bind('', ''), execute('')),
    sync(parse('', 'SELECT 1'), bindText('', '', ['too', 'many']), execute('')),
    sync(bind('', 'nosuch'), execute('')),
    sync(execute('nosuch')),
    sync(describe('S', 'nosuch')),
    sync(describe('P', 'nosuch')),
    sync(close('S', 'nosuch'), close('P', 'nosuch')),
    run('SELECT 5'),
  ],
  'named statements': [
    sync(parse('s1', 'SELECT $1::int * 2')),
    sync(bindText('', 's1', ['21']), describe('P', ''), execute('')),
    sync(parse('s1', 'SELECT 1')),
    sync(describe('S', 's1')),
    sync(close('S', 's1')),
    sync(bindText('', 's1', ['21']), execute('')),
    sync(parse('s1', "SELECT 'other'::text"), bind('', 's1'), execute('')),
    sync(parse('s2', 'SELECT nope')),
    sync(bind('', 's2'), execute('')),
    sync(parse('s2', 'SELECT 1/0'), bind('', 's2'), execute(''), parse('s3', 'SELECT 3')),
    sync(bind('', 's3'), execute('')),
    q('SELECT 1'),
    sync(bind('', 's1'), execute('')),
    q('DEALLOCATE s1'),
    sync(bind('', 's1'), execute('')),
    sync(parse('s4', 'SELECT 4')),
    q('DEALLOCATE ALL'),
    sync(bind('', 's4'), execute('')),
    sync(parse('s4', 'SELECT 44'), bind('', 's4'), execute('')),
    q('DEALLOCATE nosuch'),
  ],
  'a simple query drops the unnamed statement': [
    sync(parse('', 'SELECT 1')),
    q('SELECT 2'),
    sync(bind('', ''), execute('')),
  ],
  'portals with a row limit': [
    sync(parse('', 'SELECT generate_series(1, 5)'), bind('', ''), execute('', 2), execute('', 2), execute('', 2)),
    q('BEGIN'),
    sync(parse('', 'SELECT generate_series(1, 5)'), bind('p1', ''), execute('p1', 2)),
    sync(execute('p1', 2)),
    sync(close('P', 'p1')),
    sync(execute('p1', 2)),
    q('ROLLBACK'),
  ],
  'Flush without Sync is answered at once': [
    step([parse('', 'SELECT 1'), FLUSH], '1', 1),
    step([bind('', ''), describe('P', ''), FLUSH], 'T', 1),
    step([execute(''), FLUSH], 'C', 1),
    sync(),
    step([parse('', 'SELECT 1/0'), bind('', ''), execute(''), FLUSH], 'E', 1),
    step([parse('', 'SELECT 1'), bind('', ''), execute(''), FLUSH, SYNC], 'Z', 1),
    q('SELECT 2'),
  ],
  'a simple query in the middle of an unsynced sequence': [
    step([parse('', 'SELECT 1'), bind('', ''), execute(''), query('SELECT 2')], 'Z', 1),
    sync(),
    step([parse('', 'SELECT 1/0'), bind('', ''), execute(''), query('SELECT 2'), SYNC], 'Z', 1),
  ],
  'transactions and their failures': [
    q('BEGIN'),
    q('SELECT 1'),
    q('SELECT 1/0'),
    q('SELECT 2'),
    q('COMMIT'),
    q('BEGIN'),
    q('COMMIT'),
    q('BEGIN'),
    q('ROLLBACK'),
    q('COMMIT'),
    q('ROLLBACK'),
    q('BEGIN'),
    q('BEGIN'),
    q('SAVEPOINT a'),
    q('SELECT 1/0'),
    q('ROLLBACK TO a'),
    q('SELECT 1'),
    q('COMMIT AND CHAIN'),
    q('SELECT 1'),
    q('ROLLBACK'),
    q('BEGIN; SELECT 1'),
    q('COMMIT'),
    ...texts('BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE', 'SHOW transaction_isolation', 'COMMIT'),
    ...texts('BEGIN READ ONLY', 'SELECT 1', 'CREATE TABLE no_table (i int)', 'COMMIT'),
    ...['BEGIN', 'SELECT 1', 'SELECT 1/0', 'SELECT 1', 'COMMIT'].map((text) => run(text)),
    q('START TRANSACTION'),
    q('SELECT 1'),
    q('END'),
    q('SAVEPOINT outside'),
  ],
  'writes, and reads of them': [
    q('CREATE TABLE conf (i int PRIMARY KEY, t text)'),
    run("INSERT INTO conf VALUES ($1::int, 'a') RETURNING *", '1'),
    q('SELECT * FROM conf'),
    q("INSERT INTO conf VALUES (1, 'again')"),
    q("INSERT INTO conf VALUES (2, 'b'); INSERT INTO conf VALUES (1, 'dup')"),
    q('SELECT count(*) FROM conf'),
    q("WITH w AS (INSERT INTO conf VALUES (3, 'w') RETURNING i) SELECT * FROM w"),
    q('SELECT * FROM conf ORDER BY i FOR UPDATE'),
    run('SELECT * FROM conf ORDER BY i'),
    q('UPDATE conf SET t = t WHERE false'),
    q('DROP TABLE conf'),
    q('SELECT * FROM conf'),
  ],
  'COPY in and out': [
    q('CREATE TABLE conf_copy (i int, t text)'),
    step([query('COPY conf_copy FROM STDIN')], 'G', 1),
    step([copyData('1\tone\n'), copyData('2\ttwo\n'), COPY_DONE], 'Z', 1),
    q('COPY conf_copy TO STDOUT'),
    q('COPY (SELECT i FROM conf_copy ORDER BY i) TO STDOUT'),
    step([query('COPY conf_copy FROM STDIN'), copyData('3\tthree\n'), COPY_DONE, query('SELECT 1')], 'Z', 2),
    step([query('COPY conf_copy FROM STDIN'), copyData('no\n'), COPY_DONE, query('SELECT 1')], 'Z', 2),
    step([query('COPY conf_copy FROM STDIN'), copyFail('changed my mind')], 'Z', 1),
    step([query("COPY conf_copy FROM STDIN; SELECT 'after'"), copyData('4\tfour\n'), COPY_DONE], 'Z', 1),
    q('SELECT count(*) FROM conf_copy'),
    step([parse('', 'COPY conf_copy FROM STDIN'), bind('', ''), describe('P', ''), execute(''), SYNC], 'G', 1),
    step([copyData('5\tfive\n'), copyData('6\tsix\n'), COPY_DONE, SYNC], 'Z', 1),
    step([parse('', 'COPY conf_copy FROM STDIN'), bind('', ''), execute(''), SYNC], 'G', 1),
    step([copyFail('no'), SYNC], 'Z', 1),
    run('COPY conf_copy TO STDOUT'),
    q('DROP TABLE conf_copy'),
  ],
  'settings and what is reported of them': [
    q("SET application_name = 'conf'"),
    q('SHOW application_name'),
    q("SET DateStyle = 'German'"),
    q("SELECT '2020-02-03'::date"),
    q("SET TimeZone = 'Asia/Tokyo'"),
    q('BEGIN'),
    q("SET application_name = 'inner'"),
    q('SAVEPOINT a'),
    q("SET application_name = 'innermost'"),
    q('ROLLBACK TO a'),
    q('SHOW application_name'),
    q('ROLLBACK'),
    q('SHOW application_name'),
    q('SET nosuch = 1'),
    q("SET statement_timeout = 'often'"),
    q("SET application_name = 'undone'; SELECT 1/0"),
    q('SHOW application_name'),
    q("SET LOCAL application_name = 'nowhere'"),
    run("SET application_name = 'extended'"),
    q('SHOW application_name'),
    q('RESET application_name'),
    q('SHOW application_name'),
    q("SELECT set_config('conf.mine', 'set', false)"),
    q('SHOW conf.mine'),
    q('RESET ALL'),
    q("SELECT '2020-02-03'::date"),
    q('SHOW transaction_read_only'),
    q('SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY'),
    q('SHOW default_transaction_read_only'),
    q('CREATE TABLE no_table (i int)'),
    q('DISCARD ALL'),
  ],
  'state that lives on one server': [
    q('CREATE TEMP TABLE conf_temp (i int)'),
    q('INSERT INTO conf_temp VALUES (1)'),
    q('SELECT * FROM conf_temp'),
    q('PREPARE conf_p (int) AS SELECT $1 + 1'),
    q('EXECUTE conf_p (1)'),
    q('DEALLOCATE conf_p'),
    q('EXECUTE conf_p (1)'),
    q('SELECT pg_advisory_lock(4711)'),
    q('SELECT pg_advisory_unlock(4711)'),
    q('SELECT pg_advisory_unlock(4711)'),
    q('BEGIN'),
    q('DECLARE conf_c CURSOR WITH HOLD FOR SELECT generate_series(1, 3)'),
    q('COMMIT'),
    q('FETCH 2 FROM conf_c'),
    q('CLOSE conf_c'),
    q('FETCH 2 FROM conf_c'),
    q('DISCARD ALL'),
    q('SELECT * FROM conf_temp'),
  ],
  'notices and notifications': [
    q("DO $$ BEGIN RAISE NOTICE 'hello'; RAISE WARNING 'there'; END $$"),
    q('LISTEN conf'),
    q("NOTIFY conf, 'payload'"),
    q('UNLISTEN *'),
    q("NOTIFY conf, 'nobody'"),
  ],
  'long texts, parameters and rows': [
    q(`SELECT length('${LONG}')`),
    run('SELECT length($1::text)', LONG),
    q("SELECT repeat('y', 300000), 1"),
    q('SELECT i, repeat(i::text, 100) FROM generate_series(1, 2000) AS i'),
    run('SELECT i, repeat(i::text, 100) FROM generate_series(1, 2000) AS i'),
    q(`SELECT '${LONG}' AS a, 1/0`),
    sync(parse('long', 'SELECT length($1::text), $2::int'), bindText('p', 'long', [LONG, '7']), execute('p')),
    sync(
      parse('', 'SELECT length($1::text)'),
      bindText('', '', [LONG]),
      execute(''),
      bindText('', '', ['x']),
      execute(''),
    ),
    sync(
      parse('', 'SELECT 1/length($1::text)'),
      bindText('', '', ['']),
      execute(''),
      bindText('', '', [LONG]),
      execute(''),
    ),
    step([query(`SELECT length('${LONG}')`), query('SELECT 2'), query(`SELECT length('${LONG}')`)], 'Z', 3),
  ],
};
