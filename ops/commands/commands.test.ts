import assert from 'node:assert/strict';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import { test } from 'node:test';
import { ConfigError, LeaseholdError } from '../../common/errors.ts';
import { ApiClient, type ClusterStatus } from '../api-client.ts';
import { pickPort } from '../local/ports.ts';
import { tellSteps } from '../local/readiness.ts';
import { assignment, settingsText } from './config-cluster.ts';
import { configCheckCommand } from './config-check.ts';
import { explain } from './errors.ts';
import { forcedNode } from './failover.ts';
import { sampleLine } from './monitor.ts';
import { reloadText } from './reload.ts';
import { statusText } from './status.ts';
import { checkTarget } from './switchover.ts';

function node(name: string, role: string, more: object = {}): object {
  return {
    node: name,
    address: '127.0.0.1:5001',
    role,
    state: role === 'leader' ? 'LEADER_OPEN' : 'FOLLOWER',
    timeline: 2,
    flushedLsn: '0/3000060',
    replayedLsn: '0/3000060',
    lagBytes: role === 'leader' ? 0 : 1536,
    freshnessMs: role === 'leader' ? 0 : 12.5,
    usable: true,
    postgresPid: 11,
    agentPid: 10,
    note: null,
    ...more,
  };
}

const body = {
  cluster: 'main',
  term: 3,
  leader: { node: 'node1', address: '127.0.0.1:5001' },
  writable: true,
  route: { term: 3, hold: false, seq: 9 },
  nodes: [
    node('node1', 'leader'),
    node('node2', 'follower'),
    node('node3', 'none', { state: 'CLONING', usable: false, note: 'copying' }),
  ],
  proxies: [{ id: 'proxy1', address: '127.0.0.1:6432', heldWrites: 0, inFlight: 2 }],
};

async function withServer<T>(
  answer: (request: IncomingMessage) => [number, unknown],
  work: (api: ApiClient) => Promise<T>,
): Promise<T> {
  const server: Server = createServer((request, response) => {
    const [status, value] = answer(request);
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  try {
    return await work(new ApiClient({ url: `http://127.0.0.1:${port}/`, token: 'secret' }));
  } finally {
    server.close();
    server.closeAllConnections();
  }
}

function fetchStatus(value: unknown = body): Promise<ClusterStatus> {
  return withServer(
    () => [200, value],
    (api) => api.status(),
  );
}

test('status is a table with the leader, lag and freshness of each node, and notes below', async () => {
  const text = statusText(await fetchStatus());
  assert.match(text, /cluster main {3}term 3 {3}leader node1 \(127\.0\.0\.1:5001\) {3}writes are open/);
  assert.match(text, /node2 .*follower .*1\.5 kB .*13 ms .*yes/);
  assert.match(text, / node3: copying/);
  assert.match(text, /proxy1/);
});

test('a reload tells what is in force now and what waits for a restart', () => {
  assert.equal(reloadText({ changed: [], needsRestart: [] }), 'nothing changed');
  assert.match(
    reloadText({ changed: ['proxy.pool.size'], needsRestart: ['proxy.id'] }),
    /in force now:\n {2}proxy\.pool\.size\n.*restart:\n {2}proxy\.id$/,
  );
});

test('what the proxy that was asked does itself is said last', async () => {
  const self = { id: 'proxy1', clients: 3, maxClients: 100, waiting: 2, paused: true, draining: false };
  const text = statusText(await fetchStatus({ ...body, self }));
  assert.match(text, /proxy1 answered: 3 of 100 clients, 2 wait for a connection, an operator has PAUSED a database$/);
});

test('held writes are said first', async () => {
  const text = statusText(await fetchStatus({ ...body, writable: false }));
  assert.match(text.split('\n')[0] ?? '', /HELD/);
});

test('a pause is said below the first line, with who and why', async () => {
  const pause = { by: 'ann@host', reason: 'new switches', at: '2026-01-01T00:00:00Z' };
  const lines = statusText(await fetchStatus({ ...body, pause })).split('\n');
  assert.match(lines[1] ?? '', /PAUSED by ann@host since 2026-01-01T00:00:00Z \(new switches\); "leasehold resume"/);
});

test('settings of the cluster are given as name=value, and shown with what each node goes by', async () => {
  assert.deepEqual(assignment('cluster.syncAcks=2'), ['syncAcks', 2]);
  assert.deepEqual(assignment('withoutFollower=hold'), ['withoutFollower', 'hold']);
  assert.throws(() => assignment('syncAcks'), { code: 'USAGE' });
  const rules = { version: 3, syncAcks: 2, withoutFollower: 'hold' };
  const settings = { version: 3, by: 'ann@host', at: 'now', settings: { syncAcks: 2 } };
  const nodes = [node('node1', 'leader', { rules }), node('node2', 'follower', { rules })];
  const text = settingsText(await fetchStatus({ ...body, settings, nodes }));
  assert.match(text, /^cluster-wide: syncAcks=2 \(version 3, by ann@host at now\)/);
  assert.match(text, /node2 +3 +2 +hold/);
  assert.doesNotMatch(text, /differ/);
  const other = [node('node1', 'leader', { rules }), node('node2', 'follower', { rules: { ...rules, syncAcks: 1 } })];
  assert.match(settingsText(await fetchStatus({ ...body, nodes: other })), /no settings[\s\S]*The nodes differ/);
});

test('a cluster without a leader has a status too', async () => {
  const text = statusText(await fetchStatus({ ...body, term: 0, leader: null, route: null, writable: false }));
  assert.match(text, /leader none {3}no leader yet/);
});

test('a sample is one line', async () => {
  assert.equal(
    sampleLine('12:00:00.000', await fetchStatus()),
    '12:00:00.000 term=3 leader=node1 open heldWrites=0 node2=1.5kB/13ms node3=CLONING:1.5kB/13ms',
  );
});

test('another program behind the URL is recognised', async () => {
  await assert.rejects(fetchStatus({ hello: 1 }), /is not Leasehold's .*is another program there\?/);
});

test('an API that cannot be reached says what to do', async () => {
  const port = await pickPort(undefined, new Set());
  const api = new ApiClient({ url: `http://127.0.0.1:${port}`, token: null });
  await assert.rejects(
    api.status(),
    /127\.0\.0\.1:\d+ cannot be reached \(ECONNREFUSED\).*"leasehold up".*LEASEHOLD_API/,
  );
});

test('the token is sent, and a refusal repeats what the proxy said', async () => {
  const seen: (string | undefined)[] = [];
  await withServer(
    (request) => {
      seen.push(request.headers.authorization);
      return [409, { error: 'refused', message: 'another switchover is under way' }];
    },
    async (api) => assert.rejects(api.post('/switchover', {}), /another switchover is under way/),
  );
  assert.deepEqual(seen, ['Bearer secret']);
  await withServer(
    () => [401, { message: 'needs a token' }],
    async (api) => assert.rejects(api.post('/failover', {}), /needs a token.*LEASEHOLD_CLUSTER_API_TOKEN/),
  );
});

test('a switchover to the leader, or to no follower, is refused with the names there are', async () => {
  const status = await fetchStatus();
  assert.throws(() => checkTarget(status, 'node1'), /is the leader already/);
  assert.throws(() => checkTarget(status, 'nod2'), /followers are node2/);
  checkTarget(status, 'node2');
});

test('a forced failover needs the consent and the name together', () => {
  assert.equal(forcedNode({}), null);
  assert.equal(forcedNode({ allowDataLoss: true, node: 'node2' }), 'node2');
  assert.throws(() => forcedNode({ node: 'node2' }), { code: 'USAGE', message: /switchover --to node2/ });
  assert.throws(() => forcedNode({ allowDataLoss: true }), { code: 'USAGE', message: /--node/ });
});

test('progress tells each step of each node once', async () => {
  const lines: string[] = [];
  const told = new Map<string, string>();
  const status = await fetchStatus();
  for (let look = 0; look < 3; look++) tellSteps(status, told, (line) => lines.push(line));
  assert.deepEqual(lines, ['node1: leader of term 3', 'node2: follower, streaming', 'node3: cloning node1']);
});

test('errors are explained without a stack, faults of a configuration all at once', () => {
  assert.deepEqual(explain(new LeaseholdError('PORT', 'port 1 is in use')), {
    text: 'leasehold: port 1 is in use',
    exitCode: 1,
  });
  const fault = { path: 'a.b', source: 'x.yaml', message: 'is wrong' };
  const { text, exitCode } = explain(new ConfigError([fault, fault]));
  assert.equal(exitCode, 2);
  assert.match(text, /2 faults:\n {2}a\.b {2}\(x\.yaml\): is wrong/);
  assert.match(explain(new TypeError('bug')).text, /bug\n.*at /s);
});

test('a check for a proxy reads the rules of who may log in, and tells faults with their lines', () => {
  const set = ['service.password=x', 'proxy.auth.hba=["local all all trust", "host all all nowhere/8 md5", "host"]'];
  assert.throws(
    () => configCheckCommand({ for: 'proxy', set }),
    (error: unknown) => {
      assert.ok(error instanceof ConfigError);
      assert.deepEqual(
        error.faults.map(({ source }) => source),
        ['proxy.auth.hba line 2', 'proxy.auth.hba line 3'],
      );
      return true;
    },
  );
});
