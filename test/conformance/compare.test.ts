import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { compare, type Explained, renderTable, tally } from './compare.ts';
import { explainedOf, readExplained } from './explained.ts';
import type { Outcome, TestResult } from './suite.ts';

const result = (name: string, outcome: Outcome, detail = ''): TestResult => ({ test: name, outcome, detail });
const known: Explained = { suite: 's', test: 'b', sides: ['transaction'], why: 'because' };

test('a difference is what the proxy does otherwise, explained or not; equal failures are none', () => {
  const direct = [result('a', 'passed'), result('b', 'passed'), result('c', 'failed'), result('d', 'passed')];
  const proxy = [result('a', 'failed', 'lost'), result('b', 'failed'), result('c', 'failed')];
  const { differences, outdated } = compare('s', 'transaction', direct, proxy, [known]);
  assert.deepEqual(
    differences.map(({ test: name, proxy: outcome, why, detail }) => [name, outcome, why, detail]),
    [
      ['a', 'failed', null, 'lost'],
      ['b', 'failed', 'because', ''],
      ['d', 'absent', null, ''],
    ],
  );
  assert.deepEqual(outdated, []);
});

test('an explained difference explains its own lines only', () => {
  const narrow = { ...known, lines: ['-1', '+2'] };
  const verdict = (detail: string) =>
    compare('s', 'transaction', [result('b', 'passed')], [result('b', 'failed', detail)], [narrow]).differences[0]?.why;
  assert.equal(verdict('12 ms\n-1\n+2'), 'because');
  assert.equal(verdict('12 ms\n-1\n+3'), null);
});

test('a detail that is explained explains no other one', () => {
  const narrow: Explained = { ...known, detail: 'HY000' };
  const verdict = (detail: string) =>
    compare('s', 'transaction', [result('b', 'passed')], [result('b', 'failed', detail)], [narrow]).differences[0]?.why;
  assert.equal(verdict('HY000'), 'because');
  assert.equal(verdict('08007'), null);
});

test('an explained difference that no longer occurs is reported, for its own suite and side only', () => {
  const same = [result('b', 'passed')];
  assert.deepEqual(compare('s', 'transaction', same, same, [known]).outdated, [known]);
  assert.deepEqual(compare('s', 'transaction', same, same, [{ ...known, sometimes: true }]).outdated, []);
  assert.deepEqual(compare('s', 'session', same, same, [known]).outdated, []);
  assert.deepEqual(compare('t', 'transaction', same, same, [known]).outdated, []);
});

test('what is explained of some versions of PostgreSQL is explained of no other', () => {
  const everywhere = { ...known, suite: 'everywhere' };
  const some = [everywhere, { ...known, postgres: [17, 18] }];
  assert.deepEqual(explainedOf(18, some), some);
  assert.deepEqual(explainedOf(15, some), [everywhere]);
});

test('the table has a line for each suite and side', () => {
  const counts = tally([result('a', 'passed'), result('b', 'skipped')]);
  const table = renderTable([{ suite: 's', side: 'direct', tally: counts, seconds: 1 }]);
  assert.deepEqual(table.split('\n').at(-1)?.trim().split(/\s+/), ['s', 'direct', '1', '0', '1', '1']);
});

test('every explained difference has its line in the README', () => {
  const readme = readFileSync(join(import.meta.dirname, 'README.md'), 'utf8');
  const missing = readExplained().filter(({ suite, test: name }) => !readme.includes(`\`${suite}\` \`${name}\``));
  assert.deepEqual(missing, []);
});
