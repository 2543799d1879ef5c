import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hintOf, parseHint } from './hint.ts';

const CASES: readonly (readonly [string, string, string | null, string | null])[] = [
  ['a role', 'leasehold: leader', 'leader', null],
  ['another role, in capitals', ' LEASEHOLD:Follower ', 'follower', null],
  ['a level', 'leasehold: consistency=eventual', null, 'eventual'],
  ['a level with quotes and spaces', "leasehold: consistency = 'strong'", null, 'strong'],
  ['both', 'leasehold: follower, consistency=database', 'follower', 'database'],
  ['a level that is none', 'leasehold: consistency=much', null, null],
  ['a role and something unknown', 'leasehold: leader, faster', null, null],
  ['nothing', 'leasehold:', null, null],
  ['another program’s comment', 'app: leader', null, null],
];

for (const [name, body, role, consistency] of CASES) {
  test(`a hint with ${name} is read as meant`, () => {
    assert.deepEqual(hintOf(parseHint(body)), { role, consistency });
  });
}

test('each hint has a number of its own', () => {
  const codes = ['leader', 'follower', 'consistency=eventual', 'leader, consistency=strong'].map((each) =>
    parseHint(`leasehold: ${each}`),
  );
  assert.equal(new Set(codes).size, 4);
  assert.ok(codes.every((code) => code > 0 && code < 15));
});
