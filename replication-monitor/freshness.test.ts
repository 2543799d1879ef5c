import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { type Lsn, NO_LSN, parseLsn, parseTerm } from '../common/lsn.ts';
import {
  type FreshnessState,
  initialFreshness,
  MAX_MARKS,
  recordLoss,
  recordSample,
  recordSilence,
  retarget,
  snapshotOf,
} from './freshness.ts';
import { leaderPosition } from './leader-position.ts';
import type { MonitorTargets, ProbeSample } from './types.ts';

const BLOCK = 8192;
const SEGMENT = 16 * 1024 * 1024;
const lsn = (value: number | bigint) => BigInt(value) as Lsn;
/** All follow the leader of the term, or each the term that `others` names (0: nobody). */
function targets(term: number, leader: string | null = 'a', others: Record<string, number> = {}): MonitorTargets {
  const nodes = ['a', 'b', 'c'].map((node) => {
    const followed = others[node] ?? term;
    return { node, host: node, port: 5432, follows: node === leader || followed === 0 ? null : parseTerm(followed) };
  });
  return { term: parseTerm(term), leader, nodes };
}

function sample(change: Partial<ProbeSample>): ProbeSample {
  const sentAtMs = change.sentAtMs ?? 0;
  return {
    sentAtMs,
    answeredAtMs: sentAtMs + 1,
    systemId: '7',
    inRecovery: true,
    streaming: true,
    insertLsn: NO_LSN,
    flushedLsn: NO_LSN,
    replayedLsn: NO_LSN,
    timeline: 1,
    restartTimeline: 1,
    walBlockSize: BLOCK,
    walSegmentSize: SEGMENT,
    running: null,
    shown: null,
    ...change,
  };
}

const leads = (sentAtMs: number, at: number | bigint, change: Partial<ProbeSample> = {}) =>
  sample({ sentAtMs, inRecovery: false, insertLsn: lsn(at), flushedLsn: lsn(at), ...change });
const follows = (sentAtMs: number, at: number | bigint, change: Partial<ProbeSample> = {}) =>
  sample({ sentAtMs, replayedLsn: lsn(at), flushedLsn: lsn(at), ...change });

function after(...steps: [string, ProbeSample][]): FreshnessState {
  return steps.reduce((state, [node, one]) => recordSample(state, node, one), initialFreshness(targets(1)));
}

function seen(state: FreshnessState, node: string) {
  const found = snapshotOf(state, 0).nodes.get(node);
  assert.ok(found !== undefined);
  return found;
}

describe('freshness', () => {
  it('is the time of the newest question whose answer the follower has reached', () => {
    const state = after(
      ['a', leads(100, 1000)],
      ['a', leads(200, 2000)],
      ['a', leads(300, 3000)],
      ['b', follows(310, 2500)],
    );
    assert.equal(seen(state, 'b').freshAsOfMs, 200);
    assert.equal(seen(state, 'b').lagBytes, 500n);
    assert.equal(seen(state, 'c').freshAsOfMs, Number.NEGATIVE_INFINITY);
    assert.equal(seen(state, 'a').freshAsOfMs, Number.POSITIVE_INFINITY);
  });

  it('of an idle follower moves with the questions alone', () => {
    const state = after(['a', leads(100, 1000)], ['b', follows(110, 1000)], ['a', leads(200, 1000)]);
    assert.equal(seen(state, 'b').freshAsOfMs, 200);
  });

  it('stands still without a leader, and the follower stays usable', () => {
    let state = after(['a', leads(100, 1000)], ['b', follows(110, 1000)]);
    state = recordLoss(state, 'a', 'connection lost', 500);
    state = recordSample(state, 'b', follows(900, 1000, { timeline: null, streaming: false }));
    assert.equal(seen(state, 'b').freshAsOfMs, 100);
    assert.equal(seen(state, 'b').usable, true);
    assert.equal(seen(state, 'a').problem, 'connection lost');
  });

  it('outlives its term while no new leader has answered, and what the node showed while its server runs on', () => {
    const state = after(['a', leads(100, 1000)], ['b', follows(110, 1000)], ['c', follows(110, 1000)]);
    const elected = retarget(state, targets(2, 'c', { b: 0 }));
    assert.deepEqual([seen(elected, 'b').usable, seen(elected, 'b').freshAsOfMs], [true, 100]);
    assert.equal(snapshotOf(elected, 200).leaderHeardAtMs, 100);
    const led = recordSample(elected, 'c', leads(200, 1200, { timeline: 2 }));
    assert.match(seen(led, 'b').problem ?? '', /does not follow the leader of term 2/);
    const attached = retarget(led, targets(2, 'c'));
    assert.match(seen(attached, 'b').problem ?? '', /on timeline 1, the leader on 2/);
    const followed = recordSample(attached, 'b', follows(210, 1100, { timeline: 2 }));
    assert.deepEqual([seen(followed, 'b').usable, seen(followed, 'b').freshAsOfMs], [true, 100]);
    assert.equal(seen(recordSample(followed, 'b', follows(220, 1200, { timeline: 2 })), 'b').freshAsOfMs, 200);
  });

  it('is none for a copy that parted from the leader’s, though its timeline has the same number', () => {
    // b led term 2 on a timeline 2 that nobody heard of; c, who knows nothing of it, makes a timeline 2 in term 3.
    let state = after(['a', leads(100, 1000)], ['b', follows(110, 1000)], ['c', follows(110, 1000)]);
    state = recordLoss(state, 'b', 'gone', 500);
    state = retarget(state, targets(3, 'c', { a: 0, b: 2 }));
    state = recordSample(state, 'c', leads(200, 1200, { timeline: 2 }));
    state = recordSample(state, 'b', follows(210, 5000, { timeline: null, restartTimeline: 2, streaming: false }));
    assert.match(seen(state, 'b').problem ?? '', /does not follow the leader of term 3/);
    assert.equal(seen(state, 'b').freshAsOfMs, Number.NEGATIVE_INFINITY);
    // Its agent rewinds it, and only then has it follow.
    state = retarget(state, targets(3, 'c', { a: 0, b: 0 }));
    state = recordLoss(state, 'b', 'stopped', 500);
    state = retarget(state, targets(3, 'c', { a: 0, b: 3 }));
    state = recordSample(state, 'b', follows(300, 1200, { timeline: 2 }));
    assert.deepEqual([seen(state, 'b').usable, seen(state, 'b').freshAsOfMs], [true, 200]);
  });

  it('ends at once when the agent of a follower says that it follows no more', () => {
    const state = after(['a', leads(100, 1000)], ['b', follows(110, 1000)]);
    assert.equal(seen(retarget(state, targets(1, 'a', { b: 0 })), 'b').usable, false);
    // Without a leader followers let go of the old one, and still show what they showed.
    assert.equal(seen(retarget(state, targets(2, null, { b: 0 })), 'b').usable, true);
  });

  it('is discarded where a leader’s timeline goes back', () => {
    const state = after(['a', leads(100, 1000, { timeline: 2 })], ['b', follows(110, 1000, { timeline: 2 })]);
    const odd = recordSample(retarget(state, targets(2, 'c')), 'c', leads(200, 1200, { timeline: 1 }));
    assert.equal(seen(odd, 'b').freshAsOfMs, Number.NEGATIVE_INFINITY);
  });

  it('is forgotten with the connection, and kept through a silence', () => {
    const state = after(['a', leads(100, 1000)], ['b', follows(110, 1000)]);
    const silent = seen(recordSilence(state, 'b', 'has not answered'), 'b');
    assert.deepEqual([silent.usable, silent.freshAsOfMs], [false, 100]);
    const lost = recordLoss(state, 'b', 'gone', 500);
    assert.equal(seen(lost, 'b').freshAsOfMs, Number.NEGATIVE_INFINITY);
    assert.equal(seen(recordLoss(lost, 'b', 'gone', 900), 'b').unreachableSinceMs, 500);
    assert.equal(seen(recordLoss(lost, 'b', 'refused', null), 'b').unreachableSinceMs, null);
    assert.equal(seen(state, 'b').runningSinceMs, 110);
    assert.equal(seen(lost, 'b').runningSinceMs, Number.POSITIVE_INFINITY);
    assert.equal(seen(recordSample(lost, 'b', follows(200, 900)), 'b').runningSinceMs, 200);
    // Back from a crash, behind what it showed before.
    assert.equal(seen(recordSample(lost, 'b', follows(200, 900)), 'b').freshAsOfMs, Number.NEGATIVE_INFINITY);
  });

  const unfit: Record<string, [Partial<ProbeSample>, RegExp]> = {
    'on another timeline, however far': [{ timeline: 2 }, /timeline 2, the leader on 1/],
    'of another cluster': [{ systemId: '8' }, /another cluster/],
    'not in recovery': [{ inRecovery: false }, /not in recovery/],
    'taking no WAL, last known on an older timeline': [{ timeline: null, restartTimeline: 3 }, /timeline 3/],
  };
  for (const [name, [change, problem]] of Object.entries(unfit)) {
    it(`is none for a node ${name}`, () => {
      const node = seen(after(['a', leads(100, 1000)], ['b', follows(110, 5000, change)]), 'b');
      assert.deepEqual([node.freshAsOfMs, node.usable], [Number.NEGATIVE_INFINITY, false]);
      assert.match(node.problem ?? '', problem);
    });
  }

  it('is none while the leader of the term is still in recovery', () => {
    const state = after(['a', follows(100, 1000)], ['b', follows(110, 1000)]);
    assert.equal(seen(state, 'a').role, 'unknown');
    assert.match(seen(state, 'a').problem ?? '', /still in recovery/);
    assert.equal(seen(state, 'b').usable, false);
  });

  it('never claims a commit that the follower has not replayed, and is complete once it has caught up (property)', () => {
    const step = fc.oneof(
      fc.record({ type: fc.constant('commit' as const), bytes: fc.integer({ min: 8, max: 20_000 }) }),
      fc.record({ type: fc.constant('replay' as const), share: fc.double({ min: 0, max: 1, noNaN: true }) }),
      fc.record({ type: fc.constant('ask' as const), which: fc.constantFrom('a', 'b') }),
      fc.constant({ type: 'answer' as const }),
      fc.constant({ type: 'crash' as const }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 150 }), (steps) => {
        let state = initialFreshness(targets(1));
        let now = 0;
        let end = 100_000n;
        let replayed = 100_000n;
        const commits: { atMs: number; lsn: bigint }[] = [];
        // Answers are formed when the request is served, and arrive later, out of order between the two nodes.
        const inFlight: [string, ProbeSample][] = [];
        for (const one of steps) {
          now++;
          if (one.type === 'commit') {
            end += BigInt(one.bytes);
            commits.push({ atMs: now, lsn: end });
          } else if (one.type === 'replay') {
            replayed += BigInt(Math.floor(Number(end - replayed) * one.share));
          } else if (one.type === 'ask') {
            if (inFlight.every(([node]) => node !== one.which)) {
              inFlight.push([one.which, one.which === 'a' ? leads(now, insertPosition(end)) : follows(now, replayed)]);
            }
          } else if (one.type === 'answer') {
            const answer = inFlight.pop();
            if (answer !== undefined) state = recordSample(state, ...answer);
          } else {
            state = recordLoss(state, 'b', 'crashed', 500);
            inFlight.splice(0);
            replayed = replayed > 105_000n ? replayed - 5000n : replayed;
          }
          const fresh = seen(state, 'b').freshAsOfMs;
          for (const commit of commits) {
            if (commit.atMs < fresh)
              assert.ok(commit.lsn <= replayed, `a commit of ${commit.atMs}, fresh as of ${fresh}`);
          }
        }
        state = recordSample(state, 'a', leads(now + 1, insertPosition(end)));
        state = recordSample(state, 'b', follows(now + 2, end));
        assert.equal(seen(state, 'b').freshAsOfMs, now + 1);
      }),
      { numRuns: 500 },
    );
  });

  it('keeps a bounded number of marks, and a slow follower some freshness (property)', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 3000 }), fc.integer({ min: 0, max: 400 }), (count, behind) => {
        let state = initialFreshness(targets(1));
        for (let n = 1; n <= count; n++) state = recordSample(state, 'a', leads(n, n * 1000));
        assert.ok(state.marks.length <= MAX_MARKS);
        const reached = Math.max(1, count - behind);
        state = recordSample(state, 'b', follows(count + 1, reached * 1000));
        const fresh = seen(state, 'b').freshAsOfMs;
        assert.ok(fresh <= reached);
        // Thinning halves: what is left of the past lies no further apart than its age.
        if (count > MAX_MARKS && behind < 100) assert.ok(fresh > reached - 200, `${fresh} for ${reached}`);
      }),
      { numRuns: 30 },
    );
  });
});

describe("the leader's position", () => {
  const cases: Record<string, [string, string]> = {
    'behind a page header is the page boundary': ['0/3002018', '0/3002000'],
    'behind a segment header is the segment boundary': ['0/4000028', '0/4000000'],
    'in the middle of a page is itself': ['0/3002020', '0/3002020'],
    'at offset 24 of a first page is itself': ['0/4000018', '0/4000018'],
    'at offset 40 of a page that is not a first one is itself': ['0/3002028', '0/3002028'],
    'at a boundary is itself': ['0/3002000', '0/3002000'],
  };
  for (const [name, [insert, expected]] of Object.entries(cases)) {
    it(name, () => assert.equal(leaderPosition(parseLsn(insert), BLOCK, SEGMENT), parseLsn(expected)));
  }
});

/** As PostgreSQL: behind the header where the last record ends at a boundary. */
function insertPosition(end: bigint): bigint {
  if (end % BigInt(SEGMENT) === 0n) return end + 40n;
  return end % BigInt(BLOCK) === 0n ? end + 24n : end;
}
