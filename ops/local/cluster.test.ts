import assert from 'node:assert/strict';
import { test } from 'node:test';
import { environmentFor } from './cluster.ts';

test('settings of the environment reach the process they are for, but for those that up decides', () => {
  const env = {
    PATH: '/bin',
    LEASEHOLD_LOG_LEVEL: 'debug',
    LEASEHOLD_CONFIG: 'x.yaml',
    LEASEHOLD_CLUSTER_TTL_MS: '5000',
    LEASEHOLD_CLUSTER_ETCD: 'http://elsewhere:2379',
    LEASEHOLD_SERVICE_PASSWORD: 'x',
    LEASEHOLD_AGENT_NODE: 'n',
    LEASEHOLD_AGENT_PRIORITY: '3',
    LEASEHOLD_PROXY_POOL_SIZE: '2',
    LEASEHOLD_PROXY_LISTEN_PORT: '1',
  };
  const common = { PATH: '/bin', LEASEHOLD_LOG_LEVEL: 'debug', LEASEHOLD_CLUSTER_TTL_MS: '5000' };
  assert.deepEqual(environmentFor('agent', env), { ...common, LEASEHOLD_AGENT_PRIORITY: '3' });
  assert.deepEqual(environmentFor('proxy', env), { ...common, LEASEHOLD_PROXY_POOL_SIZE: '2' });
});
