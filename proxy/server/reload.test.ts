import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pino } from 'pino';
import { LiveConfig } from '../../common/config/live.ts';
import { leaseholdConfig } from '../../common/config/schema.ts';
import { ConfigError } from '../../common/errors.ts';
import { createReloader } from './reload.ts';

const logger = pino({ level: 'silent' });

function setUp(first: object = {}) {
  let given: object = first;
  const load = () => leaseholdConfig.parse({ service: { password: 'x' }, ...given });
  const started = load();
  const live = new LiveConfig(started.proxy);
  const reloader = createReloader({ started, live, load: () => load(), logger });
  return { live, reloader, give: (next: object) => (given = next) };
}

test('a reload puts what changed in force, and says what needs a restart', () => {
  const { live, reloader, give } = setUp();
  give({
    cluster: { ttlMs: 9000 },
    proxy: { maxClients: 7, id: 'other', databases: { app: { consistency: 'strong' } } },
  });
  assert.deepEqual(reloader.reload(), {
    changed: ['proxy.maxClients', 'proxy.databases.app'],
    needsRestart: ['cluster.ttlMs', 'proxy.id'],
  });
  assert.equal(live.current.maxClients, 7);
  assert.equal(live.current.id, 'proxy1');
  assert.equal(live.scopeOf('app', 'app').consistency, 'strong');
  // Again: it still differs from what the process was started with, and nothing is new.
  assert.deepEqual(reloader.reload(), { changed: [], needsRestart: ['cluster.ttlMs', 'proxy.id'] });
});

test('a configuration with faults is refused as a whole', () => {
  const started = leaseholdConfig.parse({});
  const live = new LiveConfig(started.proxy);
  const before = live.current;
  const fault = { path: 'proxy.maxClients', source: 'x.yaml', message: 'is wrong' };
  const load = () => {
    throw new ConfigError([fault, fault]);
  };
  assert.throws(() => createReloader({ started, live, load, logger }).reload(), { faults: [fault, fault] });
  assert.equal(live.current, before);
});

test('SET changes one setting until the next reload, and refuses what is no setting, no value or not changeable', () => {
  const { live, reloader } = setUp({ proxy: { maxClients: 5 } });
  reloader.set('maxClients', '9');
  reloader.set('proxy.pool.size', '3');
  reloader.set('consoleUsers', 'ann, bob');
  assert.deepEqual([live.current.maxClients, live.current.pool.size], [9, 3]);
  assert.deepEqual(live.current.consoleUsers, ['ann', 'bob']);
  assert.throws(() => reloader.set('maxClients', 'many'), { sqlState: '22023' });
  assert.throws(() => reloader.set('maxClients', '0'), { sqlState: '22023' });
  // A relation between two settings.
  assert.throws(() => reloader.set('routing.causalWaitMs', '99999999'), {
    sqlState: '22023',
    message: /hold\.deadlineMs/,
  });
  assert.throws(() => reloader.set('maxclients', '1'), { sqlState: '42704' });
  assert.throws(() => reloader.set('pool', '1'), { sqlState: '42704' });
  assert.throws(() => reloader.set('constructor.name', '1'), { sqlState: '42704' });
  assert.throws(() => reloader.set('listen.port', '1'), { sqlState: '55P02' });
  assert.ok(Object.isFrozen(live.current.pool));
  assert.deepEqual(reloader.reload().changed, ['proxy.maxClients', 'proxy.pool.size', 'proxy.consoleUsers']);
  assert.equal(live.current.maxClients, 5);
});
