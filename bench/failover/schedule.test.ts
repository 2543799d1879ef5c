import assert from 'node:assert/strict';
import { test } from 'node:test';
import { scheduleOf } from './schedule.ts';

test('the peers’ runs are spread over ours, all sides in turn', () => {
  const turns = scheduleOf({ scenarios: ['crash'], runs: () => 4, peers: 2, peerRuns: 2 });
  assert.deepEqual(
    turns.map(({ side, run }) => `${side}:${run}`),
    ['0:1', '1:1', '2:1', '0:2', '0:3', '1:2', '2:2', '0:4'],
  );
});

test('every side has as many runs as were asked for', () => {
  const turns = scheduleOf({
    scenarios: ['crash', 'host'],
    runs: (one) => (one === 'crash' ? 3 : 20),
    peers: 1,
    peerRuns: 5,
  });
  const count = (scenario: string, side: number) =>
    turns.filter((turn) => turn.scenario === scenario && turn.side === side).length;
  assert.deepEqual([count('crash', 0), count('crash', 1), count('host', 0), count('host', 1)], [3, 5, 20, 5]);
});

test('without peers there are only our runs', () => {
  assert.equal(scheduleOf({ scenarios: ['host'], runs: () => 2, peers: 0, peerRuns: 5 }).length, 2);
});
