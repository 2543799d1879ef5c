import assert from 'node:assert/strict';
import { test } from 'node:test';
import { agreement } from './allowed.ts';
import type { Difference } from './compare.ts';
import { Expectation } from './expectation.ts';
import type { Item, Message } from './messages.ts';
import { type Program, programOf } from './program.ts';
import { shrink } from './shrink.ts';

const q = (sql: string): Message => ({ type: 'query', sql });
const PARSE: Message = { type: 'parse', name: '', sql: 'SELECT 1', oids: [] };
const EXECUTE: Message = { type: 'execute', portal: '', maxRows: 0 };
const SYNC: Message = { type: 'sync' };
const FLUSH: Message = { type: 'flush' };
const DATA: Message = { type: 'copy-data', text: '1\n' };
const DONE: Message = { type: 'copy-done' };

const answers: [name: string, sent: readonly Message[], types: string][] = [
  ['a query', [q('SELECT 1')], 'TDCZ'],
  ['two of them ahead', [q('SELECT 1'), q('SELECT 2')], 'TDCZTDCZ'],
  ['up to Sync', [PARSE, EXECUTE, SYNC], '1DCZ'],
  ['an error voids what follows up to Sync, a query too', [PARSE, EXECUTE, q('SELECT 1'), SYNC], 'EZ'],
  ['up to Flush', [PARSE, FLUSH], '1'],
  ['COPY waits for its data', [q('COPY t FROM STDIN')], 'G'],
  ['COPY whose data were sent ahead', [q('COPY t FROM STDIN'), DATA, DONE], 'GCZ'],
  ['a Sync within COPY is none', [EXECUTE, SYNC, DATA, DONE, SYNC], 'GCZ'],
  ['data of a COPY that failed are nothing', [EXECUTE, SYNC, DATA, DONE, SYNC], 'EZZ'],
];

for (const [name, sent, types] of answers) {
  test(`the matcher knows when all is answered: ${name}`, () => {
    const expectation = new Expectation();
    for (const message of sent) expectation.push(message);
    const settled = types.split('').map((type) => {
      const before = expectation.settled;
      expectation.onAnswer(type);
      return before;
    });
    assert.deepEqual([settled.includes(true), expectation.settled], [false, true]);
  });
}

test('what is not flushed is not waited for', () => {
  const expectation = new Expectation();
  expectation.push(PARSE);
  assert.equal(expectation.settled, true);
  expectation.push(SYNC);
  assert.equal(expectation.settled, false);
});

test('an allowed difference is passed over, ends the comparison where the two part, and every other one is found', () => {
  const missing = 'E SERROR VERROR C42P01 Mrelation "t" does not exist';
  const recovery = 'E SERROR VERROR C25006 Mcannot execute COPY FROM during recovery';
  const stale = 'E SERROR VERROR C0A000 Mcached plan must not change result type';
  assert.equal(agreement(['1', 'Z'], ['1', 'Z']), 2);
  assert.equal(agreement(['1', missing, 'Z'], ['1', recovery, 'Z']), 3);
  assert.equal(agreement(['1', recovery, 'Z'], ['1', missing, 'Z']), 1);
  assert.equal(agreement(['1', stale, 'Z "E"'], ['1', '2 ""', 'Z "T"']), Infinity);
  assert.equal(agreement(['1', 'Z'], ['1']), 1);
  const row = (name: string): string => `D "\\u0000\\u0001\\u0000\\u0000\\u0000${name}"`;
  const [told, lost] = [row('\\u0005fuzz1'), row('\\u0000')];
  assert.deepEqual([agreement([told], [lost], true), agreement([told], [lost])], [1, 0]);
});

test('the same seed gives the same program', () => {
  assert.deepEqual(programOf(77, 1), programOf(77, 1));
  assert.notDeepEqual(programOf(77, 1).items, programOf(78, 1).items);
});

test('shrinking keeps what makes the difference, and only that', async () => {
  const culprits: Item[] = [q('first'), q('second')];
  const items: Item[] = [...programOf(5, 1).items];
  items.splice(2, 0, culprits[0] as Item);
  items.splice(9, 0, culprits[1] as Item);
  const program: Program = { ...programOf(5, 1), items };
  const hearing = { lines: [], end: 'answered' } as const;
  const differ = (each: Program): Difference | null => {
    const at = culprits.map((culprit) => each.items.indexOf(culprit));
    return at.includes(-1) ? null : { program: each, direct: hearing, proxied: hearing };
  };
  const other: Program = { ...programOf(6, 2) };
  const run = async (programs: readonly Program[]): Promise<Difference | null> =>
    programs.map(differ).find(Boolean) ?? null;
  const { programs } = await shrink([program, other], differ(program) as Difference, run, 1_000);
  assert.deepEqual(
    programs.map((each) => each.items),
    [[...culprits, { type: 'sync' }, { type: 'wait' }]],
  );
});
