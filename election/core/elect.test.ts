import assert from 'node:assert/strict';
import { test } from 'node:test';
import { termOf } from '../../test/support/election-view.ts';
import { inheritedSync } from './elect.ts';
import { pledgesNeeded } from './sync-quorum.ts';

const NODES = ['a', 'b', 'c', 'd', 'e'];

function subsets(names: readonly string[]): string[][] {
  return names.reduce<string[][]>((all, name) => [...all, ...all.map((set) => [...set, name])], [[]]);
}

test('E5: the durability record that a new leader begins with finds everything its predecessor acknowledged', () => {
  for (const members of subsets(['b', 'c', 'd', 'e'])) {
    for (let k = 1; k <= members.length; k++) {
      for (const winner of NODES) {
        const next = inheritedSync({ term: termOf(4), leader: 'a', members, k }, winner);
        const needed = pledgesNeeded(next);
        assert.ok(!next.members.includes(winner));
        for (const acknowledged of subsets(members).filter((s) => s.length >= k)) {
          // It is on the old leader, on these, and on the winner, whom the election chose for that.
          const holders = new Set([...acknowledged, 'a', winner]);
          for (const pledged of subsets(next.members).filter((p) => needed !== null && p.length >= needed)) {
            assert.ok(
              pledged.some((n) => holders.has(n)),
              `${k} of ${members}: ${acknowledged} acknowledged, ${winner} won, ${pledged} elect without it`,
            );
          }
        }
      }
    }
  }
});

test('E5: after a leader that was alone only the one who took over is eligible', () => {
  assert.deepEqual(inheritedSync({ term: termOf(4), leader: 'a', members: [], k: 0 }, 'a'), { members: [], k: 0 });
});
