import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NO_LSN, parseTerm } from '../../common/lsn.ts';
import type { FreshnessSnapshot, NodeFreshness, ReplicationMonitor } from '../../replication-monitor/types.ts';
import type { FollowerRequest } from '../routing/choose-node.ts';
import { newNodeLoad } from '../routing/node-load.ts';
import { ShadowLog } from './shadow.ts';

const NODE: NodeFreshness = {
  node: 'node2',
  host: 'h',
  port: 1,
  role: 'follower',
  freshAsOfMs: 0,
  runningSinceMs: 0,
  usable: true,
  streaming: true,
  timeline: 1,
  flushedLsn: NO_LSN,
  replayedLsn: NO_LSN,
  lagBytes: 0n,
  problem: null,
  unreachableSinceMs: null,
  settledAsOfMs: 0,
  unsettled: 0,
  probeMs: 1,
};

/** A monitor of one follower, on a clock that the test turns. */
function rig() {
  let nowMs = 1000;
  let listener: ((snapshot: FreshnessSnapshot) => void) | null = null;
  let woken = 0;
  const snapshotOf = (freshAsOfMs: number, usable: boolean): FreshnessSnapshot => ({
    term: parseTerm(1),
    leader: 'node1',
    takenAtMs: nowMs,
    leaderHeardAtMs: nowMs,
    settledAsOfMs: 0,
    marks: [],
    nodes: new Map([['node2', { ...NODE, freshAsOfMs, usable }]]),
  });
  const monitor = {
    snapshot: snapshotOf(900, true),
    wake: () => {
      woken += 1;
    },
    subscribe: (each: (snapshot: FreshnessSnapshot) => void) => {
      listener = each;
      return () => {
        listener = null;
      };
    },
  };
  const log = new ShadowLog(monitor as unknown as ReplicationMonitor, { nowMs: () => nowMs } as never);
  const show = (atMs: number, freshAsOfMs: number, usable = true): void => {
    nowMs = atMs;
    monitor.snapshot = snapshotOf(freshAsOfMs, usable);
    listener?.(monitor.snapshot);
  };
  const read = (committedAtMs: number, level: FollowerRequest['level'] = 'session'): void =>
    log.note('app', 'web', request(committedAtMs, level), 50);
  const row = () => log.rows[0];
  return { show, read, row, listening: () => listener !== null, woken: () => woken };
}

function request(committedAtMs: number, level: FollowerRequest['level']): FollowerRequest {
  return {
    level,
    floor: { committedAtMs, lastReadAtMs: -Infinity, lastNode: null },
    databaseFloorMs: -Infinity,
    maxStalenessMs: 30_000,
    exclude: new Set(),
    loadOf: () => newNodeLoad(),
    nowMs: 1000,
    random: 0,
  };
}

test('a read that a fresh follower could serve is counted as such, and wakes nobody', () => {
  const { read, row, woken, listening } = rig();
  read(800);
  assert.deepEqual([row()?.reads, row()?.follower_at_once, row()?.naive_stale], [1, 1, 0]);
  assert.deepEqual([woken(), listening()], [0, false]);
});

test('a read right after a commit is stale with a naive split, for as long as the follower lags, and waits with ours', () => {
  const { show, read, row, listening } = rig();
  read(990);
  assert.equal(row()?.naive_stale, 1);
  show(1020, 950);
  assert.deepEqual([row()?.follower_after_wait, row()?.leader], [0, 0]);
  show(1030, 995);
  assert.deepEqual([row()?.follower_after_wait, row()?.wait_max_ms, row()?.stale_max_ms], [1, 30, 30]);
  assert.equal(listening(), false);
});

test('a follower that stays behind beyond the causal wait leaves the read to the leader, and the naive one stale for longer', () => {
  const { show, read, row } = rig();
  read(990);
  show(1060, 950);
  assert.deepEqual([row()?.leader, row()?.stale_total_ms], [1, 0]);
  show(1400, 1390);
  assert.deepEqual([row()?.leader, row()?.follower_after_wait, row()?.stale_total_ms], [1, 0, 400]);
});

test('without a usable follower nothing could have been read from one', () => {
  const { show, read, row } = rig();
  show(1000, 900, false);
  read(990);
  assert.deepEqual([row()?.no_follower, row()?.naive_stale], [1, 0]);
});

test('what is followed at once is bounded', () => {
  const { show, read, row, listening } = rig();
  for (let i = 0; i < 1_200; i += 1) read(990);
  assert.equal(row()?.unmeasured, 200);
  show(20_000, 950);
  assert.deepEqual([row()?.leader, row()?.stale_max_ms, listening()], [1_000, 10_000, false]);
});
