import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ClientError } from '../../common/errors.ts';
import { type Lsn, parseTerm } from '../../common/lsn.ts';
import { formatToken, parseToken, standingOf, type TokenView } from './token.ts';

const token = (term: bigint, lsn: bigint) => ({ term: parseTerm(term), lsn: lsn as Lsn });

test('the text of a token is stable: what one version gave out, the next must read', () => {
  assert.equal(formatToken(token(7n, 0x16b374d848n), 'main'), 'lh1.7.16b374d848.59469bd9');
});

test('a token survives its text form', () => {
  const terms = fc.bigInt({ min: 0n, max: 2n ** 53n });
  const positions = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
  fc.assert(
    fc.property(terms, positions, (term, lsn) => {
      assert.deepEqual(parseToken(formatToken(token(term, lsn), 'main'), 'main'), token(term, lsn));
    }),
  );
});

const GOOD = formatToken(token(7n, 0x16b374d848n), 'main');
for (const [name, text] of [
  ['nothing', ''],
  ['something else', 'hello'],
  ['one that was cut short', GOOD.slice(0, -1)],
  ['one whose position lost a digit', GOOD.replace('48.', '4.')],
  ['one of another version', GOOD.replace('lh1', 'lh2')],
  ['one of another cluster', formatToken(token(7n, 1n), 'staging')],
  ['an LSN', '16/B374D848'],
] as const) {
  test(`${name} is refused as a token with 22023`, () => {
    assert.throws(
      () => parseToken(text, 'main'),
      (error) => error instanceof ClientError && error.sqlState === '22023',
    );
  });
}

const view = (term: bigint | null, at: number | null, asked = false): TokenView => ({
  term: term === null ? null : parseTerm(term),
  momentOf: (lsn) => (lsn <= 100n ? at : null),
  asked,
});
const CASES: readonly (readonly [string, bigint, bigint, TokenView, string])[] = [
  ['a position that the leader of its term has passed is reached', 5n, 90n, view(5n, 40), 'reached'],
  ['a token of an older term is reached wherever the new leader was heard', 4n, 900n, view(5n, 40), 'reached'],
  ['a token of an older term waits for a word of the new leader', 4n, 90n, view(5n, null), 'wait for leader'],
  ['a token of a later term waits for news of it', 6n, 90n, view(5n, 40, true), 'wait for term'],
  ['before any route every token waits', 5n, 90n, view(null, null), 'wait for term'],
  ['a position that was not passed yet waits for the leader’s answer', 5n, 900n, view(5n, 40), 'wait for leader'],
  ['a position beyond what the leader answered was never given out', 5n, 900n, view(5n, 40, true), 'beyond'],
];
for (const [name, term, lsn, seen, expected] of CASES) {
  test(name, () => {
    const standing = standingOf(token(term, lsn), seen);
    assert.equal(standing.kind === 'wait' ? `wait for ${standing.for}` : standing.kind, expected);
  });
}
