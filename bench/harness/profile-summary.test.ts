import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type CpuProfile, summarise } from './profile-summary.ts';

test('time is summed by function, idle time is left out, and recursion is counted once', () => {
  const frame = (functionName: string, url = '') => ({ functionName, url, lineNumber: 4 });
  const profile: CpuProfile = {
    nodes: [
      { id: 1, callFrame: frame('(root)'), children: [2, 3] },
      { id: 2, callFrame: frame('(idle)') },
      { id: 3, callFrame: frame('run', 'file:///x/proxy/a.ts'), children: [4] },
      { id: 4, callFrame: frame('run', 'file:///x/proxy/a.ts'), children: [5] },
      { id: 5, callFrame: frame('write', 'node:net') },
    ],
    samples: [2, 3, 4, 5, 5],
    timeDeltas: [9000, 1000, 1000, 1000, 1000],
  };
  const { busyMs, functions } = summarise(profile);
  assert.equal(busyMs, 4);
  const run = functions.find(({ name }) => name === 'run proxy/a.ts:5');
  assert.deepEqual(run, { name: 'run proxy/a.ts:5', selfMs: 2, totalMs: 4 });
  assert.equal(functions.find(({ name }) => name.startsWith('write'))?.selfMs, 2);
});
