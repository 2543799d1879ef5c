import assert from 'node:assert/strict';
import { test } from 'node:test';
import { memberOf, pledgeOf, termOf, viewOf } from '../../test/support/election-view.ts';
import type { SyncRecord } from '../store/records.ts';
import { candidacy } from './candidate.ts';

const b = { node: 'b', priority: 50, noFailover: false };
const members = ['b', 'c', 'd'].map((node) => memberOf(node));
/** a led term 4; each of its commits is on one of b and c. */
const oneOfTwo: SyncRecord = { term: termOf(4), leader: 'a', members: ['b', 'c'], k: 1 };

function of(sync: SyncRecord, pledges: Parameters<typeof viewOf>[0]['pledges'], self = b) {
  return candidacy(viewOf({ term: 4, sync, members, pledges: pledges ?? [] }), self);
}

test('E3: with one acknowledgement of two, one pledge elects nobody', () => {
  const alone = of(oneOfTwo, [pledgeOf('b', 5, 4, 100)]);
  assert.equal(alone.kind, 'no');
  assert.match(alone.kind === 'no' ? alone.why : '', /1 of 2 pledges.*waiting for c/);
});

test('E3: with both pledges the one that holds more may acquire, and names both', () => {
  const pledges = [pledgeOf('b', 5, 4, 200), pledgeOf('c', 5, 4, 100)];
  const used = [
    { node: 'b', modRevision: 100 },
    { node: 'c', modRevision: 101 },
  ];
  assert.deepEqual(of(oneOfTwo, pledges), { kind: 'eligible', best: true, byRecord: null, used });
  assert.equal(of(oneOfTwo, pledges, { ...b, node: 'c' }).kind, 'no');
});

test('E3: a pledge for an earlier term counts for nothing', () => {
  assert.equal(of(oneOfTwo, [pledgeOf('b', 5, 4, 200), pledgeOf('c', 4, 4, 100)]).kind, 'no');
});

test('E7: the later term holds more, whatever the positions and timelines say', () => {
  const pledges = [pledgeOf('b', 5, 2, 900), { ...pledgeOf('c', 5, 3, 100), timeline: 1 }];
  assert.equal(of(oneOfTwo, pledges).kind, 'no');
  assert.equal(of(oneOfTwo, pledges, { ...b, node: 'c' }).kind, 'eligible');
});

test('E3: who is not in the durability record is not eligible, however far it is', () => {
  const pledges = [pledgeOf('b', 5, 4, 100), pledgeOf('c', 5, 4, 100), pledgeOf('d', 5, 4, 900)];
  assert.equal(of(oneOfTwo, pledges, { ...b, node: 'd' }).kind, 'no');
});

test('two acknowledgements of three need two pledges, and a third that is ahead does not count', () => {
  const twoOfThree = { ...oneOfTwo, members: ['b', 'c', 'd'], k: 2 };
  const pledges = [pledgeOf('b', 5, 4, 100), pledgeOf('c', 5, 4, 100), pledgeOf('d', 5, 4, 900)];
  const mine = of(twoOfThree, pledges);
  assert.equal(mine.kind === 'eligible' && mine.best, false);
  assert.deepEqual(mine.kind === 'eligible' && mine.used.map((p) => p.node), ['b', 'c']);
});

test('E4: while the record says that the leader is alone, only the leader is eligible', () => {
  const alone = { ...oneOfTwo, members: [], k: 0 };
  const pledges = [pledgeOf('a', 5, 4, 1), pledgeOf('b', 5, 4, 100), pledgeOf('c', 5, 4, 100)];
  assert.equal(of(alone, pledges).kind, 'no');
  assert.equal(of(alone, pledges, { ...b, node: 'a' }).kind, 'eligible');
});

test('the node that was handed over to goes first', () => {
  const handed = { ...oneOfTwo, handover: 'b' };
  const mine = of(handed, [pledgeOf('b', 5, 4, 100)]);
  assert.deepEqual(mine.kind === 'eligible' && [mine.best, mine.byRecord], [true, 'handover']);
});

test('of two equal copies the higher priority goes first, then the name', () => {
  const pledges = [pledgeOf('b', 5, 4, 100), pledgeOf('c', 5, 4, 100)];
  const best = (preferred: number): unknown => {
    const others = [memberOf('b'), memberOf('c', { priority: preferred })];
    const mine = candidacy(viewOf({ term: 4, sync: oneOfTwo, members: others, pledges }), b);
    return mine.kind === 'eligible' && mine.best;
  };
  assert.equal(best(50), true);
  assert.equal(best(60), false);
});

test('a node that is not to be promoted pledges, and does not run', () => {
  const pledges = [pledgeOf('b', 5, 4, 100), pledgeOf('c', 5, 4, 100)];
  assert.equal(of(oneOfTwo, pledges, { ...b, noFailover: true }).kind, 'no');
});

test('without a durability record nobody runs', () => {
  assert.equal(candidacy(viewOf({ term: 0 }), b).kind, 'no');
});
