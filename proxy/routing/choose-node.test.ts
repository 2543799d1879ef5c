import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { FreshnessSnapshot, NodeFreshness } from '../../replication-monitor/types.ts';
import { exampleFollower, exampleSnapshot } from '../../test/support/freshness.ts';
import { chooseFollower, firstReadWaitMs, type FollowerRequest } from './choose-node.ts';
import { newNodeLoad } from './node-load.ts';

const node = (name: string, freshAsOfMs: number, overrides: Partial<NodeFreshness> = {}) =>
  exampleFollower(name, { freshAsOfMs, ...overrides });
const snapshot = (...nodes: NodeFreshness[]) => exampleSnapshot(nodes);

const NEVER = Number.NEGATIVE_INFINITY;

function request(overrides: Partial<FollowerRequest> = {}): FollowerRequest {
  return {
    level: 'session',
    floor: { committedAtMs: NEVER, lastReadAtMs: NEVER, lastNode: null },
    databaseFloorMs: NEVER,
    maxStalenessMs: 1000,
    loadOf: () => newNodeLoad(),
    nowMs: 2000,
    exclude: new Set(),
    random: 0,
    ...overrides,
  };
}

const follower = (name: string) => ({ kind: 'follower', node: name });
const wait = { kind: 'wait' };
const leader = { kind: 'leader' };

const cases: [string, FreshnessSnapshot, Partial<FollowerRequest>, object][] = [
  ['a fresh follower serves', snapshot(node('a', 1900)), {}, follower('a')],
  ['without followers the leader serves', snapshot(), {}, leader],
  [
    'a session stays with its follower, however much it lags behind what was read',
    snapshot(node('a', 1500)),
    { floor: { committedAtMs: NEVER, lastReadAtMs: 1900, lastNode: 'a' } },
    follower('a'),
  ],
  [
    'a follower that was started anew since the session’s last read counts as another one',
    snapshot(node('a', 1500, { runningSinceMs: 1950 })),
    { floor: { committedAtMs: NEVER, lastReadAtMs: 1900, lastNode: 'a' } },
    wait,
  ],
  ['an unusable follower is as good as none', snapshot(node('a', 1900, { usable: false })), {}, leader],
  ['the leader itself is never chosen as a follower', snapshot(node('a', 1900, { role: 'leader' })), {}, leader],
  ['a node of unknown role is not chosen', snapshot(node('a', 1900, { role: 'unknown' })), {}, leader],
  [
    'a follower that was tried already is not tried again',
    snapshot(node('a', 1900)),
    { exclude: new Set(['a']) },
    leader,
  ],
  ['strong is always the leader', snapshot(node('a', 2000)), { level: 'strong' }, leader],
  ['a follower that is too stale is waited for', snapshot(node('a', 999)), {}, wait],
  ['one of which nothing is known is waited for', snapshot(node('a', NEVER)), { level: 'eventual' }, wait],
  [
    'a session that has written waits for a follower that has its write',
    snapshot(node('a', 1499)),
    { floor: { committedAtMs: 1500, lastReadAtMs: NEVER, lastNode: 'a' } },
    wait,
  ],
  [
    'a follower exactly as fresh as the write serves',
    snapshot(node('a', 1500)),
    { floor: { committedAtMs: 1500, lastReadAtMs: NEVER, lastNode: null } },
    follower('a'),
  ],
  [
    'a session stays with its follower while the other is not fresh as of its last read',
    snapshot(node('a', 1500), node('b', 1700)),
    { floor: { committedAtMs: NEVER, lastReadAtMs: 1800, lastNode: 'a' }, random: 0.99 },
    follower('a'),
  ],
  [
    'a session whose last read was on the leader waits until a follower is fresh as of then',
    snapshot(node('a', 1500)),
    { floor: { committedAtMs: NEVER, lastReadAtMs: 1800, lastNode: 'leader' } },
    wait,
  ],
  [
    'eventual ignores what the session wrote and read',
    snapshot(node('a', 1100)),
    { level: 'eventual', floor: { committedAtMs: 1500, lastReadAtMs: 1800, lastNode: 'leader' } },
    follower('a'),
  ],
  [
    'database waits for the commits of other sessions',
    snapshot(node('a', 1500)),
    { level: 'database', databaseFloorMs: 1600 },
    wait,
  ],
  [
    'session does not wait for the commits of others',
    snapshot(node('a', 1500)),
    { databaseFloorMs: 1600 },
    follower('a'),
  ],
  [
    'of two fresh followers the less busy serves',
    snapshot(node('a', 1900), node('b', 1900)),
    { loadOf: (name) => ({ ...newNodeLoad(), busy: name === 'a' ? 5 : 1 }) },
    follower('b'),
  ],
];

for (const [name, state, overrides, expected] of cases) {
  test(name, () => assert.deepEqual(chooseFollower(state, request(overrides)), expected));
}

test('every eligible follower is drawn, and none twice as often as another', () => {
  const state = snapshot(node('a', 1900), node('b', 1900), node('c', 1900));
  const counts = new Map<string, number>();
  for (let i = 0; i < 3000; i += 1) {
    const choice = chooseFollower(state, request({ random: i / 3000 }));
    if (choice.kind === 'follower') counts.set(choice.node, (counts.get(choice.node) ?? 0) + 1);
  }
  assert.deepEqual([...counts.values()], [1000, 1000, 1000]);
});

test('whoever is chosen meets the floor, and a wait means that nobody does', () => {
  const time = fc.integer({ min: 0, max: 2000 });
  const arbitraryNode = fc.record({ freshAsOfMs: time, usable: fc.boolean(), busy: fc.nat(9) });
  fc.assert(
    fc.property(
      fc.array(arbitraryNode, { maxLength: 5 }),
      time,
      time,
      fc.nat(5),
      fc.double({ min: 0, max: 0.999999, noNaN: true }),
      (nodes, committedAtMs, lastReadAtMs, last, random) => {
        const state = snapshot(...nodes.map((each, i) => node(`n${i}`, each.freshAsOfMs, { usable: each.usable })));
        const asked = request({
          floor: { committedAtMs, lastReadAtMs, lastNode: `n${last}` },
          maxStalenessMs: 5000,
          random,
          loadOf: (name) => ({ ...newNodeLoad(), busy: nodes[Number(name.slice(1))]?.busy ?? 0 }),
        });
        const serves = (each: NodeFreshness) =>
          each.usable &&
          each.role === 'follower' &&
          each.freshAsOfMs >= committedAtMs &&
          (each.node === `n${last}` || each.freshAsOfMs >= lastReadAtMs);
        const choice = chooseFollower(state, asked);
        const able = [...state.nodes.values()].filter(serves);
        if (choice.kind === 'follower') assert.ok(able.some((each) => each.node === choice.node));
        else assert.equal(able.length, 0);
        if (choice.kind === 'leader') assert.ok(nodes.every((each) => !each.usable));
      },
    ),
  );
});

test('a first read waits as long as the nearest follower is behind, up to a second', () => {
  const late = snapshot(node('a', 1000), node('b', 1700), node('c', 1999, { usable: false }));
  assert.equal(firstReadWaitMs(late, 2000, 50), 500);
  assert.equal(firstReadWaitMs(late, 2000, 700), 700);
  assert.equal(firstReadWaitMs(late, 2800, 50), 50, 'too far behind to wait for');
  assert.equal(firstReadWaitMs(late, NEVER, 50), 50, 'nothing was committed before');
  assert.equal(firstReadWaitMs(snapshot(), 2000, 50), 50);
  assert.equal(firstReadWaitMs(snapshot(node('a', NEVER)), NEVER, 50), 50);
});
