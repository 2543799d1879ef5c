import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LiveConfig } from './live.ts';
import { leaseholdConfig } from './schema.ts';
import { scopedConfig } from './scoped.ts';

const parse = (proxy: unknown) => leaseholdConfig.parse({ proxy }).proxy;

test('a user’s setting is stronger than a database’s, and that than the one for all', () => {
  const proxy = parse({
    routing: { consistency: 'strong', causalWaitMs: 7 },
    databases: { app: { consistency: 'eventual', maxStalenessMs: 5 } },
    users: { ann: { consistency: 'database' } },
  });
  assert.deepEqual(scopedConfig(proxy, 'app', 'ann'), {
    ...scopedConfig(proxy, 'app', 'bob'),
    consistency: 'database',
  });
  assert.equal(scopedConfig(proxy, 'app', 'bob').consistency, 'eventual');
  assert.equal(scopedConfig(proxy, 'app', 'bob').maxStalenessMs, 5);
  assert.equal(scopedConfig(proxy, 'other', 'bob').consistency, 'strong');
  assert.equal(scopedConfig(proxy, 'other', 'bob').causalWaitMs, 7);
});

test('a name that every object knows is no setting', () => {
  assert.equal(scopedConfig(parse({}), 'constructor', '__proto__').consistency, 'session');
});

test('a replaced configuration is seen by those who ask and those who subscribed', () => {
  const live = new LiveConfig(parse({}));
  assert.equal(live.scopeOf('app', 'ann').consistency, 'session');
  const seen: string[] = [];
  const stop = live.subscribe((config) => seen.push(config.routing.consistency));
  live.replace(parse({ routing: { consistency: 'strong' } }));
  assert.equal(live.scopeOf('app', 'ann').consistency, 'strong');
  stop();
  live.replace(parse({}));
  assert.deepEqual(seen, ['strong']);
});
