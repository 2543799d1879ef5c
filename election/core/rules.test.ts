import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CoreDriver } from '../../test/support/core-driver.ts';
import { encodeRecord, settingsRecord } from '../store/records.ts';
import { rulesOf } from './rules.ts';

function put(driver: CoreDriver, settings: { syncAcks?: number; withoutFollower?: 'go-on' | 'hold' }): void {
  const value = encodeRecord(settingsRecord, { version: 1, by: 'ann@host', at: 'now', settings });
  driver.etcd.transact(driver.nowMs, { compare: [], then: [{ type: 'put', key: driver.keys.config, value }] });
}

test('settings of the cluster are stronger than a node’s own, one by one, as soon as they are seen', () => {
  const driver = new CoreDriver({ syncAcks: 1, withoutFollower: 'go-on' });
  driver.run(3000, () => driver.state.mode.kind === 'LEADER_OPEN');
  assert.deepEqual(rulesOf(driver.state), { syncAcks: 1, withoutFollower: 'go-on' });
  put(driver, { syncAcks: 2 });
  driver.run(100);
  assert.deepEqual(rulesOf(driver.state), { syncAcks: 2, withoutFollower: 'go-on' });
  put(driver, { withoutFollower: 'hold' });
  driver.run(100);
  assert.deepEqual(rulesOf(driver.state), { syncAcks: 1, withoutFollower: 'hold' });
});

test('a value that cannot be read leaves each node to its own file, and is told', () => {
  const driver = new CoreDriver({ syncAcks: 1 });
  driver.run(3000, () => driver.state.mode.kind === 'LEADER_OPEN');
  const value = '{"version":1,"by":"x","at":"y","settings":{"syncAcks":"many"}}';
  driver.etcd.transact(driver.nowMs, { compare: [], then: [{ type: 'put', key: driver.keys.config, value }] });
  driver.run(100);
  assert.equal(rulesOf(driver.state).syncAcks, 1);
  assert.deepEqual(driver.state.view?.damaged, [driver.keys.config]);
});

test('a held leader that is told to go on alone opens without a restart', () => {
  const driver = new CoreDriver({ withoutFollower: 'hold' });
  driver.run(5000);
  assert.equal(driver.state.mode.kind, 'LEADER_HELD');
  put(driver, { withoutFollower: 'go-on' });
  assert.ok(driver.run(2000, () => driver.state.mode.kind === 'LEADER_OPEN'));
  const sync = driver.etcd.readAll(driver.nowMs, driver.keys.sync).keys.get(driver.keys.sync);
  assert.equal(JSON.parse(sync?.value ?? '{}').k, 0);
});
