import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Buckets, Quantiles } from './buckets.ts';
import { commentTags } from './sqlcommenter.ts';
import { shownStatement } from './shown-statement.ts';
import { StatementTable } from './statement-table.ts';

test('a full table forgets what was not used for longest', () => {
  const table = new StatementTable(100);
  for (let i = 0; i < 100; i++) table.entry('app', `s${i}`, 'read').totalMs = i;
  table.entry('app', 's0', 'read').calls += 1;
  table.entry('app', 'new', 'read');
  assert.equal(table.size, 76);
  assert.equal(table.forgotten, 25);
  assert.equal(table.entry('app', 's0', 'read').calls, 1);
  const texts = table.top(100).map((entry) => entry.text);
  assert.ok(!texts.includes('s1') && !texts.includes('s25') && texts.includes('s26'));
  assert.equal(texts[0], 's99');
  for (let i = 0; i < 10_000; i++) table.entry(`db${i}`, 'x', 'read');
  assert.ok(table.size <= 100);
});

test('a statement is shown with a mark where its strings were', () => {
  assert.equal(shownStatement(`SELECT ', "it's", 0 FROM t WHERE a = '`), `SELECT '…', "it's", 0 FROM t WHERE a = '…'`);
});

test('a quantile is right to within a fifth', () => {
  const quantiles = new Quantiles();
  assert.equal(quantiles.quantileMs(0.99), 0);
  for (let i = 1; i <= 1000; i++) quantiles.observe(i / 10);
  for (const q of [0.5, 0.9, 0.99]) {
    const exact = q * 100;
    assert.ok(quantiles.quantileMs(q) >= exact && quantiles.quantileMs(q) <= exact * 1.2, String(q));
  }
  quantiles.observe(0);
  quantiles.observe(1e12);
});

test('a bucket holds what is at most its bound', () => {
  const buckets = new Buckets([1, 10]);
  for (const ms of [0.5, 1, 1.1, 10, 11]) buckets.observe(ms);
  assert.deepEqual([...buckets.counts], [2, 2, 1]);
  assert.equal(buckets.count, 5);
});

const trace = '00-5bd66ef5095369c7b0d1f8f4bd33716a-c532cb4098ac3dd2-01';

for (const [name, text, tags] of [
  [
    'tags at the end',
    `SELECT 1 /*traceparent='${trace}',db_driver='x%2Fy'*/`,
    { traceparent: trace, db_driver: 'x/y' },
  ],
  ['a semicolon behind', `SELECT 1 /*route='a'*/ ; `, { route: 'a' }],
  ['tags in front', `/*action='run',framework='f'*/ SELECT 1`, { action: 'run', framework: 'f' }],
  ['an escaped quote', `SELECT 1 /*controller='it\\'s'*/`, { controller: "it's" }],
  ['no tags', `SELECT 1 /* only words */`, {}],
  ['no comment', `SELECT '/*route=''a''*/ x'`, {}],
  ['a key that is not of the standard', `SELECT 1 /*password='x'*/`, {}],
  ['encoding that is broken', `SELECT 1 /*route='%zz'*/`, { route: '%zz' }],
] as const) {
  test(`sqlcommenter: ${name}`, () => assert.deepEqual(commentTags(text), tags));
}
