import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pino } from 'pino';
import { drillsConfig, type ScheduledDrill } from '../../common/config/drills.ts';
import { createMemoryStore } from '../../election/store/memory.ts';
import { ActionRefused } from '../admin/action-refused.ts';
import { isWithin, openWindows } from './schedule.ts';
import { limitsOf } from './world.ts';
import { DrillScheduler } from './scheduler.ts';
import type { StartedDrill } from './runner.ts';

function scheduled(changes: object): ScheduledDrill[] {
  return drillsConfig.parse({ schedule: [{ kind: 'crash', at: '03:00', ...changes }] }).schedule;
}

function open(changes: object, at: string): string | undefined {
  return openWindows(scheduled(changes), new Date(at))[0]?.window;
}

test('a window is open from its hour on, for as long as it says', () => {
  assert.equal(open({}, '2026-03-04T02:59:00Z'), undefined);
  assert.equal(open({}, '2026-03-04T03:00:00Z'), '2026-03-04');
  assert.equal(open({}, '2026-03-04T03:59:59Z'), '2026-03-04');
  assert.equal(open({}, '2026-03-04T04:00:00Z'), undefined);
});

test('only on its days, by the clock of its zone', () => {
  const vienna = { zone: 'Europe/Vienna', days: ['wed'] };
  assert.equal(open(vienna, '2026-03-04T02:10:00Z'), '2026-03-04');
  assert.equal(open(vienna, '2026-03-04T03:10:00Z'), undefined);
  assert.equal(open(vienna, '2026-03-05T02:10:00Z'), undefined);
  // Summer time.
  assert.equal(open(vienna, '2026-07-01T01:10:00Z'), '2026-07-01');
  // It is Wednesday in Auckland, and Tuesday in Greenwich.
  assert.equal(open({ zone: 'Pacific/Auckland', days: ['wed'] }, '2026-03-03T14:10:00Z'), '2026-03-04');
});

test('the hours of the cluster for drills may reach past midnight, by the clock of their zone', () => {
  assert.ok(isWithin('03:00-04:00', new Date('2026-03-04T03:00:00Z')));
  assert.ok(!isWithin('03:00-04:00', new Date('2026-03-04T04:00:00Z')));
  const night = '22:00-05:00 Europe/Vienna';
  assert.ok(isWithin(night, new Date('2026-03-04T21:00:00Z')));
  assert.ok(isWithin(night, new Date('2026-03-04T03:59:00Z')));
  assert.ok(!isWithin(night, new Date('2026-03-04T20:59:00Z')));
  assert.ok(!isWithin(night, new Date('2026-07-01T03:00:00Z')));
});

test('what the cluster says of hours and lag is stronger than a proxy’s own file', () => {
  const own = drillsConfig.parse({ maxLagBytes: 1000 });
  assert.deepEqual([limitsOf(own).maxLagBytes, limitsOf(own).window], [1000, null]);
  const whole = limitsOf(own, { drillMaxLagBytes: 0, drillWindow: '03:00-04:00' });
  assert.deepEqual([whole.maxLagBytes, whole.window], [0, '03:00-04:00']);
});

test('a window that reaches past midnight belongs to the day on which it began', () => {
  const late = { at: '23:30', windowMinutes: 90, days: ['sat'] };
  assert.equal(open(late, '2026-03-07T23:40:00Z'), '2026-03-07');
  assert.equal(open(late, '2026-03-08T00:50:00Z'), '2026-03-07');
  assert.equal(open(late, '2026-03-08T01:00:00Z'), undefined);
  assert.equal(open(late, '2026-03-08T23:40:00Z'), undefined);
});

test('one proxy runs the drill of a window, once; a refused one is tried again, and told when it found no moment', async () => {
  const store = createMemoryStore(() => performance.now());
  const started: string[] = [];
  const told: string[] = [];
  let refuse = true;
  let now = new Date('2026-03-04T03:10:00Z');
  const logger = pino(
    { level: 'info' },
    { write: (line: string) => void told.push((JSON.parse(line) as { event: string }).event) },
  );
  const proxy = (id: string) =>
    new DrillScheduler({
      store,
      cluster: 'main',
      config: drillsConfig.parse({ schedule: scheduled({}) }),
      drills: {
        start: async ({ kind, by }) => {
          if (refuse) throw new ActionRefused(409, 'not now');
          started.push(`${id} ${kind} ${by}`);
          return { id: 'x', done: new Promise(() => {}) } as unknown as StartedDrill;
        },
      },
      logger,
      now: () => now,
      lookEveryMs: 1_000_000,
    });
  const proxies = [proxy('a'), proxy('b')] as const;
  await Promise.all(proxies.map((one) => one.look()));
  await proxies[0].look();
  assert.deepEqual(started, []);
  refuse = false;
  await Promise.all(proxies.map((one) => one.look()));
  await Promise.all(proxies.map((one) => one.look()));
  assert.equal(started.length, 1);
  assert.match(started[0] ?? '', /^[ab] crash schedule$/);
  now = new Date('2026-03-05T03:10:00Z');
  refuse = true;
  await proxies[0].look();
  now = new Date('2026-03-05T05:10:00Z');
  refuse = false;
  told.length = 0;
  await proxies[0].look();
  assert.deepEqual([started.length, told], [1, ['drill.missed']]);
  for (const one of proxies) await one.close();
});

test('no schedule, or drills turned off: nothing ever looks', async () => {
  const store = createMemoryStore(() => performance.now());
  const drills = { start: () => Promise.reject(new Error('started')) };
  const logger = pino({ level: 'silent' });
  const config = drillsConfig.parse({ enabled: false, schedule: scheduled({}) });
  for (const one of [config, drillsConfig.parse({})]) {
    const scheduler = new DrillScheduler({ store, cluster: 'main', config: one, drills, logger, lookEveryMs: 1 });
    await new Promise((resolve) => setTimeout(resolve, 10));
    await scheduler.close();
  }
  assert.throws(() => scheduled({ zone: 'Nowhere/Land' }), /no time zone/);
  assert.throws(() => scheduled({ at: '25:00' }), /HH:MM/);
});
