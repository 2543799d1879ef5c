import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseTerm, type Term } from '../../common/lsn.ts';
import { commitFate, type CommitFate } from './commit-fate.ts';

type Terms = readonly (readonly [term: number, parent: number | undefined, nextXid: string | null])[];

function fate(xid: bigint, current: number, terms: Terms): CommitFate {
  const history = new Map<Term, { parent?: Term; nextXid: string | null }>();
  for (const [term, parent, nextXid] of terms) {
    history.set(parseTerm(term), { nextXid, ...(parent === undefined ? {} : { parent: parseTerm(parent) }) });
  }
  return commitFate({ term: parseTerm(3), xid }, parseTerm(current), history);
}

const cases: readonly (readonly [string, bigint, number, Terms, CommitFate])[] = [
  ['an id below the new term’s first can be asked about', 99n, 4, [[4, 3, '100']], 'ask'],
  ['an id that the new term gives out again never arrived', 100n, 4, [[4, 3, '100']], 'never-arrived'],
  ['an id above it never arrived', 101n, 4, [[4, 3, '100']], 'never-arrived'],
  ['the term itself answers for its aborts only', 99n, 3, [], 'same-term'],
  [
    'terms in between count: their ids may have been used again',
    100n,
    5,
    [
      [4, 3, '100'],
      [5, 4, '150'],
    ],
    'never-arrived',
  ],
  [
    'and below all of them it can be asked about',
    99n,
    5,
    [
      [4, 3, '100'],
      [5, 4, '150'],
    ],
    'ask',
  ],
  [
    'a term that left nothing in the copy does not count',
    120n,
    5,
    [
      [4, 3, '100'],
      [5, 3, '150'],
    ],
    'ask',
  ],
  [
    'nor does one of which nothing is known',
    120n,
    5,
    [
      [4, 3, null],
      [5, 3, '150'],
    ],
    'ask',
  ],
  ['a term on the way of which nothing is known leaves it unknown', 99n, 5, [[5, 4, '150']], 'unknown'],
  ['as does one whose first id is not recorded', 99n, 4, [[4, 3, null]], 'unknown'],
  ['and one whose origin is not recorded', 99n, 4, [[4, undefined, '100']], 'unknown'],
  ['a copy that never had the term proves nothing here', 99n, 4, [[4, 2, '100']], 'unknown'],
  ['damaged records end the search', 99n, 4, [[4, 4, '100']], 'unknown'],
  ['ids are compared as numbers', 9n, 4, [[4, 3, '10']], 'ask'],
];
for (const [name, xid, current, terms, expected] of cases) {
  test(name, () => assert.equal(fate(xid, current, terms), expected));
}
