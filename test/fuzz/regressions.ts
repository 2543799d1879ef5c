import type { Item, Message } from './messages.ts';

const q = (sql: string): Message => ({ type: 'query', sql });
const parse = (name: string, sql: string): Message => ({ type: 'parse', name, sql, oids: [] });
const bind = (portal: string, statement: string, ...values: string[]): Message => ({
  type: 'bind',
  portal,
  statement,
  formats: [],
  values,
  results: [],
});
const execute = (portal: string, maxRows = 0): Message => ({ type: 'execute', portal, maxRows });
const describe = (kind: 'S' | 'P', name: string): Message => ({ type: 'describe', kind, name });
const close = (name: string): Message => ({ type: 'close', kind: 'S', name });
const run = (portal: string, sql: string): Message[] => [parse('', sql), bind(portal, ''), execute(portal)];
const data = (text: string): Message => ({ type: 'copy-data', text });
const DONE: Message = { type: 'copy-done' };
const FLUSH: Message = { type: 'flush' };
const SYNC: Message = { type: 'sync' };
const WAIT: Item = { type: 'wait' };

/** What the fuzzer found, shrunk, by what went wrong; each is to be answered as by the server itself. */
export const REGRESSIONS: Readonly<Record<string, readonly Item[]>> = {
  'COPY of the extended protocol with its data sent ahead': [
    ...run('p1', 'COPY t FROM STDIN'),
    data('20\ttwenty\n'),
    DONE,
    SYNC,
    ...run('', 'COPY t FROM STDIN'),
    DONE,
    SYNC,
    ...run('', 'COPY nosuch FROM STDIN'),
    data('1\n'),
    DONE,
    SYNC,
    ...run('', 'COPY t FROM STDIN'),
    SYNC,
    data('21\tone\n'),
    DONE,
    SYNC,
    q('SELECT * FROM t ORDER BY i'),
    WAIT,
  ],
  'COPY behind a Flush with its data sent ahead': [
    parse('', 'COPY t FROM STDIN'),
    FLUSH,
    WAIT,
    bind('', ''),
    execute(''),
    data('20\ttwenty\n'),
    DONE,
    SYNC,
    q('SELECT count(*) FROM t'),
    WAIT,
  ],
  'Close and Flush alone': [close('s1'), FLUSH, WAIT, SYNC, WAIT],
  'a function call behind unsynced messages': [
    parse('s1', 'SELECT 1'),
    { type: 'call', oid: 177, values: ['00000001', '00000002'] },
    SYNC,
    bind('', 's1'),
    execute(''),
    SYNC,
    WAIT,
  ],
  'a function call behind an error is skipped': [execute('nosuch'), { type: 'call', oid: 1, values: [] }, SYNC, WAIT],
  'what a skipped Close took away comes back': [
    parse('s1', 'SELECT 1'),
    SYNC,
    execute('nosuch'),
    close('s1'),
    parse('s1', 'SELECT 2'),
    SYNC,
    bind('', 's1'),
    execute(''),
    SYNC,
    WAIT,
  ],
  'what a skipped Parse named is not there': [
    execute('nosuch'),
    parse('s2', 'SELECT 2'),
    close('s2'),
    SYNC,
    bind('', 's2'),
    SYNC,
    WAIT,
  ],
  'a write behind a Flush': [
    parse('', 'SELECT count(*) FROM t'),
    FLUSH,
    WAIT,
    ...run('p1', "INSERT INTO t VALUES (30, 'thirty')"),
    SYNC,
    WAIT,
  ],
  'a setting in a query behind unsynced messages': [
    close('s1'),
    q("SET application_name = 'behind'"),
    WAIT,
    q('SHOW application_name'),
    SYNC,
    WAIT,
  ],
  'a setting in a query behind a Flush, and one that fails': [
    parse('', 'SELECT 1'),
    FLUSH,
    WAIT,
    q("SET application_name = 'behind'"),
    WAIT,
    q('SHOW application_name'),
    WAIT,
    parse('', 'SELECT 1'),
    FLUSH,
    WAIT,
    q("SET application_name = 'undone'; SELECT 1/0"),
    WAIT,
    q('SHOW application_name'),
    WAIT,
  ],
  'characteristics of the session, and a rollback that takes them back': [
    q('SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY'),
    WAIT,
    q('SHOW default_transaction_read_only'),
    WAIT,
    q('SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE'),
    WAIT,
    q('BEGIN'),
    q('SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY'),
    q('ROLLBACK'),
    q('SHOW default_transaction_read_only'),
    WAIT,
  ],
  'a text that sets behind its own rollback': [
    q("BEGIN; SET work_mem = '3MB'; ROLLBACK; SET extra_float_digits = 0"),
    WAIT,
    q('SHOW work_mem'),
    q('SHOW extra_float_digits'),
    WAIT,
  ],
  'Describe of a statement that is there and of one that is not': [
    parse('s1', 'SELECT $1::int'),
    describe('S', 's1'),
    SYNC,
    describe('S', 's2'),
    SYNC,
    WAIT,
  ],
};
