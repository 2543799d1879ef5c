import assert from 'node:assert/strict';
import { createServer, request as httpRequest } from 'node:http';
import { after, before, describe, test } from 'node:test';
import { pino } from 'pino';
import { exampleMetrics, exampleProviders, exampleStatus } from '../../test/support/proxy-status.ts';
import { ActionRefused } from './action-refused.ts';
import type { ClusterActions } from './actions.ts';
import { facts, NO_DRILLS, request } from '../../test/support/drills.ts';
import { planDrill } from '../drill/plan.ts';
import { type Drills, DrillRefused } from '../drill/runner.ts';
import { refuseChange } from './guard.ts';
import { type HttpApi, startHttp } from './http.ts';
import type { ReloadReport, StopMode } from './types.ts';
import { ConfigError } from '../../common/errors.ts';

const asked: unknown[] = [];
const plan = planDrill(request('crash'), facts());
const refused = planDrill(request('crash'), facts({ maintenance: true }));
const drills: Drills = {
  ...NO_DRILLS,
  dryRun: async ({ kind }) => planDrill(request(kind), facts()),
  start: async (drill) => {
    asked.push(drill);
    if (drill.kind === 'etcd') throw new DrillRefused(refused);
    return { id: 'id', plan, done: Promise.reject(new Error('the canary cannot begin')) };
  },
};
const actions: ClusterActions = {
  switchover: async (to) => {
    asked.push(['switchover', to]);
    return { id: 'x', from: 'node1', to, term: 7 };
  },
  failover: async () => {
    throw new ActionRefused(409, 'nobody could take over');
  },
  forceFailover: async (node, by) => {
    asked.push(['force', node, by]);
    return { node, term: 8, loss: 'some' };
  },
  pause: async (by, reason) => {
    asked.push(['pause', by, reason]);
    return { by, reason, at: 'now' };
  },
  resume: async () => {
    throw new ActionRefused(409, 'automatic failover is not paused');
  },
  settings: async (changes, by) => {
    asked.push(['settings', changes, by]);
    return { version: 2, by, at: 'now', settings: {} };
  },
  history: async () => [],
};

describe('the HTTP API', () => {
  let api: HttpApi;
  let guarded: HttpApi;
  let draining = false;
  let reload: () => ReloadReport = () => ({ changed: ['proxy.maxClients'], needsRestart: [] });
  const options = {
    host: '127.0.0.1',
    port: 0,
    providers: exampleProviders(() => exampleStatus({ draining })),
    metrics: exampleMetrics(),
    actions,
    drills,
    control: {
      reload: () => reload(),
      stop: (how: StopMode) => asked.push(['stop', how]),
      stepAside: (seconds: number) => asked.push(['step-aside', seconds]),
    },
    apiToken: null,
    logger: pino({ level: 'silent' }),
  };
  before(async () => {
    api = await startHttp(options);
    guarded = await startHttp({ ...options, apiToken: 'token' });
  });
  after(() => Promise.all([api.close(), guarded.close()]));

  async function post(url: string, body?: string, headers: Record<string, string> = {}) {
    const response = await fetch(url, { method: 'POST', headers, ...(body === undefined ? {} : { body }) });
    return { status: response.status, body: (await response.json()) as Record<string, unknown> };
  }

  test('a reload says what changed, or every fault and that nothing did', async () => {
    assert.deepEqual(await post(`${api.url}/reload`), {
      status: 202,
      body: { changed: ['proxy.maxClients'], needsRestart: [] },
    });
    const fault = { path: 'proxy.maxClients', source: 'x.yaml', message: 'is wrong' };
    reload = () => {
      throw new ConfigError([fault, fault]);
    };
    const { status, body } = await post(`${api.url}/reload`);
    assert.deepEqual([status, body['faults']], [422, [fault, fault]]);
    assert.match(String(body['error']), /the one in force stays/);
    assert.equal((await post(`${guarded.url}/reload`)).status, 401);
  });

  test('a drain is begun as by SIGTERM, and needs what other actions need', async () => {
    assert.equal((await post(`${guarded.url}/drain`)).status, 401);
    assert.equal((await post(`${api.url}/drain`)).status, 202);
    assert.deepEqual(asked.at(-1), ['stop', 'transactions']);
  });

  test('answers what is asked', async () => {
    for (const [path, type] of [
      ['/', 'text/html'],
      ['/live', 'application/json'],
      ['/ready', 'application/json'],
      ['/healthz', 'application/json'],
      ['/readyz', 'application/json'],
      ['/metrics', 'text/plain'],
      ['/status', 'application/json'],
      ['/settings', 'application/json'],
      ['/history', 'application/json'],
    ] as const) {
      const response = await fetch(api.url + path);
      assert.equal(response.status, 200, path);
      assert.ok(response.headers.get('content-type')?.startsWith(type), path);
      await response.text();
    }
    assert.equal((await fetch(`${api.url}/nothing`)).status, 404);
    assert.equal((await fetch(`${api.url}/failover`)).status, 405);
    assert.equal((await fetch(`${api.url}/status`, { method: 'DELETE' })).status, 405);
  });

  test('is not ready while it drains, and says why', async () => {
    draining = true;
    const response = await fetch(`${api.url}/readyz`);
    assert.equal(response.status, 503);
    assert.deepEqual(await response.json(), { status: 'not ready', reason: 'the proxy is stopping' });
    draining = false;
  });

  test('passes an operator’s requests on, and refusals back', async () => {
    asked.length = 0;
    assert.equal((await post(`${api.url}/switchover`)).status, 202);
    assert.equal((await post(`${api.url}/switchover`, '{"to":"node2"}')).status, 202);
    assert.deepEqual(asked, [
      ['switchover', null],
      ['switchover', 'node2'],
    ]);
    assert.deepEqual(await post(`${api.url}/failover`), { status: 409, body: { error: 'nobody could take over' } });
    assert.equal((await post(`${api.url}/switchover`, '{"to":1}')).status, 400);
    assert.equal((await post(`${api.url}/switchover`, 'nonsense')).status, 400);
    assert.equal((await post(`${api.url}/switchover`, `{"x":"${'y'.repeat(20_000)}"}`)).status, 400);
  });

  test('settings of the cluster are passed on with who changes them', async () => {
    asked.length = 0;
    assert.equal((await post(`${api.url}/settings`, '{"syncAcks":2,"by":"ann@host"}')).status, 202);
    assert.deepEqual(asked, [['settings', { syncAcks: 2 }, 'ann@host']]);
    assert.equal((await post(`${guarded.url}/settings`, '{"syncAcks":2}')).status, 401);
  });

  test('a forced failover needs the consent and the name of the node', async () => {
    asked.length = 0;
    for (const body of ['{"allowDataLoss":true}', '{"node":"node2"}', '{"allowDataLoss":"yes","node":"node2"}']) {
      assert.equal((await post(`${api.url}/failover`, body)).status, 400, body);
    }
    assert.deepEqual(asked, []);
    const done = await post(`${api.url}/failover`, '{"allowDataLoss":true,"node":"node2","by":"ann@host"}');
    assert.deepEqual(done, { status: 202, body: { node: 'node2', term: 8, loss: 'some' } });
    assert.deepEqual(asked, [['force', 'node2', 'ann@host']]);
  });

  test('a drill is asked for, rehearsed, refused with its plan, and shown', async () => {
    asked.length = 0;
    const dry = await post(`${api.url}/drill/crash`, '{"dryRun":true}');
    assert.deepEqual([dry.status, (dry.body['plan'] as { target: string }).target], [200, 'node1']);
    assert.deepEqual(asked, []);
    const body = '{"override":"lag, recent","seconds":5,"dsn":"postgres://app:secret@x/y"}';
    assert.deepEqual(await post(`${api.url}/drill/lag`, body), {
      status: 202,
      body: { id: 'id', plan: structuredClone(plan) },
    });
    const expected = { override: ['lag', 'recent'], seconds: 5, dsn: 'postgres://app:secret@x/y', by: 'HTTP' };
    assert.deepEqual(asked, [request('lag', expected)]);
    const no = await post(`${api.url}/drill/etcd`);
    assert.equal(no.status, 409);
    assert.match(String(no.body['error']), /the cluster is paused/);
    assert.equal((await post(`${api.url}/drill/nonsense`)).status, 404);
    const wrong = await post(`${api.url}/drill/crash`, '{"dsn":7,"secnds":5}');
    assert.equal(wrong.status, 400);
    assert.equal((await post(`${guarded.url}/drill/crash`)).status, 401);
    assert.equal((await post(`${api.url}/drill/abort`)).status, 409);
    assert.deepEqual(await (await fetch(`${api.url}/drills`)).json(), { running: null, drills: [] });
    assert.equal((await fetch(`${api.url}/drills/x`)).status, 404);
    assert.equal((await fetch(`${api.url}/drill/crash`)).status, 405);
  });

  test('a proxy steps aside for so long as it is told', async () => {
    assert.equal((await post(`${api.url}/step-aside`, '{"seconds":3}')).status, 202);
    assert.deepEqual(asked.at(-1), ['step-aside', 3]);
    assert.equal((await post(`${api.url}/step-aside`)).status, 400);
    assert.equal((await post(`${guarded.url}/step-aside`, '{"seconds":3}')).status, 401);
  });

  test('a pause says who and why, and what is not paused is not resumed', async () => {
    asked.length = 0;
    const done = await post(`${api.url}/pause`, '{"reason":"new switches","by":"ann@host"}');
    assert.deepEqual(done, { status: 202, body: { by: 'ann@host', reason: 'new switches', at: 'now' } });
    assert.equal((await post(`${api.url}/pause`)).status, 202);
    assert.equal((await post(`${api.url}/pause`, '{"reason":7}')).status, 400);
    assert.deepEqual(asked, [
      ['pause', 'ann@host', 'new switches'],
      ['pause', 'an operator', null],
    ]);
    assert.equal((await post(`${api.url}/resume`)).status, 409);
    assert.equal((await post(`${guarded.url}/pause`)).status, 401);
  });

  test('with a token, nothing changes without it', async () => {
    const headers = { authorization: 'Bearer token' };
    assert.equal((await post(`${guarded.url}/switchover`)).status, 401);
    assert.equal((await post(`${guarded.url}/switchover`, '', { authorization: 'Bearer tokem' })).status, 401);
    assert.equal((await post(`${guarded.url}/switchover`, '', headers)).status, 202);
  });

  test('a web page of another origin cannot change anything, not even under a name that leads here', async () => {
    const host = `127.0.0.1:${api.port}`;
    assert.equal(await statusOf({ host, origin: 'http://evil.example' }), 403);
    assert.equal(await statusOf({ host, 'sec-fetch-site': 'cross-site' }), 403);
    assert.equal(await statusOf({ host: `evil.example:${api.port}`, origin: `http://evil.example:${api.port}` }), 403);
    assert.equal(await statusOf({ host, origin: `http://${host}` }), 202);
    assert.equal(await statusOf({ host: `localhost:${api.port}` }), 202);
  });

  function statusOf(headers: Record<string, string>): Promise<number | undefined> {
    return new Promise((resolve, reject) => {
      const sent = httpRequest({ port: api.port, host: '127.0.0.1', path: '/switchover', method: 'POST', headers });
      sent.on('response', (response) => {
        response.resume();
        resolve(response.statusCode);
      });
      sent.on('error', reject);
      sent.end();
    });
  }

  test('without a token only this machine may change anything', () => {
    const headers = { host: '10.0.0.1:6480' };
    const open = { apiToken: null, hostNames: [] };
    assert.equal(refuseChange({ headers, remoteAddress: '10.0.0.2' }, open)?.status, 403);
    assert.equal(refuseChange({ headers, remoteAddress: '::ffff:127.0.0.1' }, open), null);
    assert.equal(refuseChange({ headers: { host: 'proxy.example' }, remoteAddress: '::1' }, open)?.status, 403);
    const named = { apiToken: null, hostNames: ['proxy.example'] };
    assert.equal(refuseChange({ headers: { host: 'proxy.example' }, remoteAddress: '::1' }, named), null);
    assert.equal(refuseChange({ headers: {}, remoteAddress: '::1' }, open)?.status, 403);
  });

  test('a port in use is named, with the setting', async () => {
    const other = createServer();
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
    const { port } = other.address() as { port: number };
    await assert.rejects(startHttp({ ...options, port }), {
      code: 'PORT_IN_USE',
      message: new RegExp(`127.0.0.1:${port} is in use.*proxy.http.port`),
    });
    other.close();
  });

  test('the page’s policy allows its own style and script', async () => {
    const response = await fetch(api.url);
    const policy = response.headers.get('content-security-policy') ?? '';
    const html = await response.text();
    const { createHash } = await import('node:crypto');
    for (const tag of ['style', 'script']) {
      const text = new RegExp(`<${tag}>(.*?)</${tag}>`, 's').exec(html)?.[1] ?? '';
      assert.ok(policy.includes(`${tag}-src 'sha256-${createHash('sha256').update(text).digest('base64')}'`), tag);
    }
    assert.doesNotMatch(html, /(src|href)="https?:/);
  });
});
