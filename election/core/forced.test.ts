import assert from 'node:assert/strict';
import { test } from 'node:test';
import { historyEntry, lsnOf, memberOf, pledgeOf, termOf, viewOf } from '../../test/support/election-view.ts';
import type { MemberRecord, PledgeRecord, SyncRecord } from '../store/records.ts';
import { bestForced, describeLoss, forcedCandidacy } from './forced.ts';
import { givenUpBy } from './lineage.ts';

/** a led term 4 (timeline 2): each of its commits is on one of b and c. */
const oneOfTwo: SyncRecord = { term: termOf(4), leader: 'a', members: ['b', 'c'], k: 1 };
const alone: SyncRecord = { ...oneOfTwo, members: [], k: 0 };
const history = [historyEntry(3, 0, 1), historyEntry(4, 3, 2)];
const pledge = (node: string, flushed: number, lineage = 4, timeline = 2): PledgeRecord => ({
  ...pledgeOf(node, 5, lineage, flushed),
  timeline,
});

function given(sync: SyncRecord, pledges: readonly PledgeRecord[], members: readonly (string | MemberRecord)[]) {
  const there = members.map((m) => (typeof m === 'string' ? memberOf(m, { state: 'PLEDGED' }) : m));
  return viewOf({ term: 4, sync, history, pledges, members: there });
}

function whyNot(view: ReturnType<typeof given>, node: string): string | null {
  const forced = forcedCandidacy(view, node);
  return forced.kind === 'no' ? forced.why : null;
}

test('who is left alone of a quorum may be forced, and what it stood on is compared', () => {
  const view = given(oneOfTwo, [pledge('b', 100)], ['b']);
  assert.deepEqual(forcedCandidacy(view, 'b'), {
    kind: 'possible',
    used: [
      { node: 'b', modRevision: 100 },
      { node: 'c', modRevision: 0 },
      { node: 'a', modRevision: 0 },
    ],
  });
  assert.equal(bestForced(view), 'b');
});

test('nobody is forced while somebody leads, or can be elected without a loss', () => {
  const both = [pledge('b', 100), pledge('c', 90)];
  assert.match(whyNot(given(oneOfTwo, both, ['b', 'c']), 'b') ?? '', /b can be promoted without any loss/);
  assert.match(whyNot(given(oneOfTwo, both, ['b', 'c']), 'c') ?? '', /b can be promoted without any loss/);
  const withLeader = given(alone, [pledge('a', 200), pledge('b', 100)], ['a', 'b']);
  assert.match(whyNot(withLeader, 'b') ?? '', /a can be promoted without any loss/);
  const led = { ...given(oneOfTwo, [pledge('b', 100)], ['b']), leaderCreateRevision: 9 };
  assert.match(whyNot(led, 'b') ?? '', /holds the lease/);
  assert.equal(bestForced(led), null);
});

test('a pledge of a node that is gone serves an election, so its owner is not needed for one without loss', () => {
  assert.match(whyNot(given(oneOfTwo, [pledge('b', 100), pledge('c', 90)], ['b']), 'b') ?? '', /b can be promoted/);
});

test('a node that is there and has not told what it holds is waited for, unless it has no copy', () => {
  const starting = memberOf('c', { state: 'FENCED' });
  assert.match(whyNot(given(oneOfTwo, [pledge('b', 100)], ['b', starting]), 'b') ?? '', /c \(FENCED\).*stop its agent/);
  const copying = memberOf('d', { state: 'CLONING' });
  assert.equal(whyNot(given(oneOfTwo, [pledge('b', 100)], ['b', copying]), 'b'), null);
  const older = [pledge('b', 100), { ...pledge('c', 900), term: termOf(4) }];
  assert.match(whyNot(given(oneOfTwo, older, ['b', 'c']), 'b') ?? '', /c \(PLEDGED\) has not told/);
});

test('I11: a node that is behind another one is not forced, whoever has more is named', () => {
  const view = given(alone, [pledge('b', 100), pledge('c', 200)], ['b', 'c']);
  assert.match(whyNot(view, 'b') ?? '', /c holds more than b .*name c/);
  assert.equal(whyNot(view, 'c'), null);
  assert.equal(bestForced(view), 'c');
  const gone = given(alone, [pledge('b', 100), pledge('c', 200)], ['b']);
  assert.equal(whyNot(gone, 'b'), null);
  assert.match(describeLoss(gone, 'b', null), /c had more when it was last heard of: 0\/C8 of term 4/);
});

test('I11: a copy that stands on a timeline which its claim does not explain is compared with nobody', () => {
  // c claims term 3, whose timeline is 1, and has streamed on to timeline 2 without its agent.
  const view = given(alone, [pledge('b', 100, 4), pledge('c', 200, 3, 2)], ['b', 'c']);
  assert.match(whyNot(view, 'b') ?? '', /c may hold more than b, the two cannot be compared/);
  assert.notEqual(whyNot(view, 'c'), null);
  assert.equal(bestForced(view), null);
  assert.equal(whyNot(given(alone, [pledge('c', 200, 3, 2)], ['c']), 'c'), null);
  assert.equal(whyNot(given(alone, [pledge('b', 100, 4), pledge('c', 200, 3, 1)], ['b', 'c']), 'b'), null);
});

test('what is known of the loss is said: who is away, what was needed, where the leader was seen', () => {
  const view = given(oneOfTwo, [pledge('b', 100)], ['b']);
  const seen = { node: 'a', term: termOf(4), flushedLsn: lsnOf(356) };
  const text = describeLoss(view, 'b', seen);
  assert.match(
    text,
    /ends at 0\/64 of term 4.*2 of b, c had to be there; away: a, c; a was last seen.*at least 256 bytes/,
  );
  assert.match(describeLoss(view, 'b', { ...seen, flushedLsn: lsnOf(100) }), /no loss is known of/);
  assert.match(describeLoss(view, 'b', { ...seen, term: termOf(3) }), /how much is lost is not known/);
  assert.match(describeLoss(view, 'b', null), /not known here/);
});

test('I11: a copy whose claim is below a forced term may hold what that one gave up; others may not', () => {
  const forced = (term: number) => ({ ...historyEntry(term, term - 1, term), reason: 'forced' as const });
  const line = [historyEntry(4, 3, 2), forced(5), historyEntry(6, 5, 6), forced(7)];
  assert.equal(givenUpBy(line, termOf(4), termOf(6)), 5n);
  assert.equal(givenUpBy(line, termOf(4), termOf(7)), 7n);
  assert.equal(givenUpBy(line, termOf(5), termOf(6)), null);
  assert.equal(givenUpBy(line, termOf(7), termOf(7)), null);
  assert.equal(givenUpBy([historyEntry(4, 3, 2)], termOf(2), termOf(4)), null);
});
