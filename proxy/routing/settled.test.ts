import assert from 'node:assert/strict';
import { test } from 'node:test';
import { exampleFollower, exampleSnapshot } from '../../test/support/freshness.ts';
import { isBeingSettled, isSettled } from './settled.ts';

const NEVER = -Infinity;

const cases: Record<string, [follower: object, snapshot: object, floor: [number, string | null], settled: boolean]> = {
  'nothing was read on a follower': [{}, {}, [NEVER, null], true],
  'the follower is settled as of later': [{ settledAsOfMs: 1500 }, {}, [1400, 'a'], true],
  'the follower is settled as of the very moment': [{ settledAsOfMs: 1400 }, {}, [1400, 'a'], true],
  'the follower is settled as of before': [{ settledAsOfMs: 1399 }, {}, [1400, 'a'], false],
  'the follower was started anew since': [{ settledAsOfMs: 1500, runningSinceMs: 1450 }, {}, [1400, 'a'], false],
  'it was started anew, and another one vouches': [
    { runningSinceMs: 1450 },
    { settledAsOfMs: 1500 },
    [1400, 'a'],
    true,
  ],
  'the follower is gone': [{ settledAsOfMs: 1500 }, {}, [1400, 'gone'], false],
  'it was not one follower': [{ settledAsOfMs: 1500 }, {}, [1400, null], false],
  'it was not one follower, and one vouches for all': [{}, { settledAsOfMs: 1500 }, [1400, null], true],
  'the follower leads now': [{ settledAsOfMs: NEVER }, { leader: 'a' }, [1400, 'a'], true],
};
for (const [name, [follower, changes, [shownAtMs, shownBy], settled]] of Object.entries(cases)) {
  test(`${settled ? 'settled' : 'not settled'}: ${name}`, () => {
    const a = exampleFollower('a', { settledAsOfMs: NEVER, ...follower });
    const snapshot = { ...exampleSnapshot([a]), settledAsOfMs: NEVER, ...changes };
    assert.equal(isSettled(snapshot, { shownAtMs, shownBy }), settled);
  });
}

test('a wait goes on while there is no leader to ask, or a follower shows what it does not; else nobody can tell', () => {
  const idle = exampleSnapshot([exampleFollower('a')]);
  assert.equal(isBeingSettled(idle, 2500), true, 'the leader has not been heard since');
  assert.equal(isBeingSettled(idle, 1500), false);
  assert.equal(isBeingSettled(exampleSnapshot([exampleFollower('a', { unsettled: 1 })]), 1500), true);
});
