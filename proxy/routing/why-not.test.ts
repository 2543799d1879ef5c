import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { NO_LSN, parseTerm } from '../../common/lsn.ts';
import type { FreshnessSnapshot, NodeFreshness } from '../../replication-monitor/types.ts';
import { chooseFollower, type FollowerRequest } from './choose-node.ts';
import { newNodeLoad } from './node-load.ts';
import { LEVELS } from './own-settings.ts';
import { whyNot } from './why-not.ts';

const moments = fc.constantFrom(Number.NEGATIVE_INFINITY, 0, 100, 200, 300);

const NODE: NodeFreshness = {
  node: 'a',
  host: 'h',
  port: 1,
  role: 'follower',
  freshAsOfMs: 0,
  runningSinceMs: 0,
  unreachableSinceMs: null,
  settledAsOfMs: 0,
  unsettled: 0,
  usable: true,
  streaming: true,
  timeline: 1,
  flushedLsn: NO_LSN,
  replayedLsn: NO_LSN,
  lagBytes: 0n,
  problem: null,
  probeMs: 1,
};
const SNAPSHOT: FreshnessSnapshot = {
  term: parseTerm(1),
  leader: 'l',
  takenAtMs: 300,
  leaderHeardAtMs: 300,
  settledAsOfMs: 0,
  marks: [],
  nodes: new Map(),
};

test('a follower is passed over exactly where a reason is given', () => {
  const facts = fc.record({
    usable: fc.boolean(),
    role: fc.constantFrom('follower' as const, 'unknown' as const),
    freshAsOfMs: moments,
    runningSinceMs: moments,
    level: fc.constantFrom(...LEVELS),
    committedAtMs: moments,
    lastReadAtMs: moments,
    lastNode: fc.constantFrom(null, 'a', 'b'),
    databaseFloorMs: moments,
    maxStalenessMs: fc.constantFrom(1, 150, Number.POSITIVE_INFINITY),
    tried: fc.boolean(),
  });
  fc.assert(
    fc.property(facts, (f) => {
      const { committedAtMs, lastReadAtMs, lastNode } = f;
      const node: NodeFreshness = {
        ...NODE,
        role: f.role,
        usable: f.usable,
        freshAsOfMs: f.freshAsOfMs,
        runningSinceMs: f.runningSinceMs,
      };
      const snapshot: FreshnessSnapshot = { ...SNAPSHOT, nodes: new Map([['a', node]]) };
      const request: FollowerRequest = {
        level: f.level,
        floor: { committedAtMs, lastReadAtMs, lastNode },
        databaseFloorMs: f.databaseFloorMs,
        maxStalenessMs: f.maxStalenessMs,
        exclude: new Set(f.tried ? ['a'] : []),
        loadOf: () => newNodeLoad(),
        nowMs: 2000,
        random: 0,
      };
      const chosen = chooseFollower(snapshot, request).kind === 'follower';
      assert.equal(whyNot(node, snapshot, request) === null, chosen);
    }),
    { numRuns: 2000 },
  );
});
