import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NO_DRILLS } from '../../test/support/drills.ts';
import { getDrills } from './http-drills.ts';

const running = {
  id: '20261124-170443-lag-0a46',
  kind: 'lag',
  proxy: 'proxy1',
  by: 'root',
  startedAt: '2026-11-24T17:04:43.000Z',
  abort: false,
} as const;

test('what runs now is told with its steps by the proxy that runs it, without them by another one', async () => {
  const progress = { id: running.id, state: 'running', lines: ['now: pauses replay'], report: null } as const;
  const own = { ...NO_DRILLS, running: async () => running, progress: () => progress };
  assert.deepEqual((await getDrills(own, '/drills/now'))?.body, { running, lines: progress.lines });
  const other = { ...own, progress: () => null };
  assert.deepEqual((await getDrills(other, '/drills/now'))?.body, { running, lines: [] });
  assert.deepEqual((await getDrills(NO_DRILLS, '/drills/now'))?.body, { running: null, lines: [] });
});
