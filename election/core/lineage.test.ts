import assert from 'node:assert/strict';
import { test } from 'node:test';
import { historyEntry, termOf } from '../../test/support/election-view.ts';
import { isAncestor, lineageOf, timelineOfTerm } from './lineage.ts';
import { EMPTY_LOCAL_STATE } from './types.ts';

// Term 2 made timeline 2 and nobody heard of it; term 3 began from term 1 as well and made a timeline 2 of its own.
const forked = [historyEntry(1, 0, 1), historyEntry(2, 1, 2), historyEntry(3, 1, 2), historyEntry(4, 3, 3)];

test('a term descends from those whose content its leader had, not from every earlier one', () => {
  assert.equal(isAncestor(forked, termOf(3), termOf(4)), true);
  assert.equal(isAncestor(forked, termOf(1), termOf(4)), true);
  assert.equal(isAncestor(forked, termOf(4), termOf(4)), true);
  assert.equal(isAncestor(forked, termOf(2), termOf(4)), false);
  assert.equal(isAncestor(forked, termOf(4), termOf(3)), false);
});

test('E7: a copy of unknown origin is nobody’s ancestor', () => {
  assert.equal(isAncestor(forked, termOf(0), termOf(4)), false);
  assert.equal(isAncestor([historyEntry(5, 4, 3)], termOf(2), termOf(5)), false);
});

test('E7: a copy claims the term it follows only once it stands on the timeline that this term’s leader announced', () => {
  const local = { ...EMPTY_LOCAL_STATE, lineageTerm: termOf(4), baseTerm: termOf(3) };
  assert.equal(lineageOf(forked, local, 2), termOf(3));
  assert.equal(lineageOf(forked, local, 3), termOf(4));
});

test('E7: a leader that was never announced claims what it had before', () => {
  const history = [...forked, historyEntry(5, 4, 4, false)];
  const local = { ...EMPTY_LOCAL_STATE, lineageTerm: termOf(5), baseTerm: termOf(4) };
  assert.equal(lineageOf(history, local, 4), termOf(4));
  assert.equal(timelineOfTerm(history, termOf(5)), null);
});

test('a node without a memory claims nothing', () => {
  assert.equal(lineageOf(forked, EMPTY_LOCAL_STATE, 2), termOf(0));
});
