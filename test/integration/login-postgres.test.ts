import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { createSecureContext } from 'node:tls';
import { Client } from 'pg';
import { pino } from 'pino';
import { monotonicClock } from '../../common/clock.ts';
import { ClientError } from '../../common/errors.ts';
import { proxyConfig } from '../../common/config/schema.ts';
import { acceptClient } from '../../proxy/auth/accept.ts';
import { loginToBackend } from '../../proxy/auth/backend-login.ts';
import { closeWith } from '../../proxy/auth/handshake.ts';
import { parseStartupOptions } from '../../proxy/auth/startup-options.ts';
import type { AcceptOutcome, BackendTarget, Credentials, VerifierSource } from '../../proxy/auth/types.ts';
import type { ClientTls } from '../../proxy/auth/connection.ts';
import { clientTls } from '../../proxy/server/tls.ts';
import { createVerifierSource } from '../../proxy/auth/verifiers.ts';
import * as encode from '../../proxy/wire/encode.ts';
import * as encodeAuth from '../../proxy/wire/encode-auth.ts';
import { command, type Listener, listen, postgresBinDir, startServer, type TestServer } from './login-support.ts';

const binDir = await postgresBinDir();
const openssl = (await command('openssl', ['version'])).code === 0;

describe('logging in through the proxy', {
  skip: binDir === null ? 'no PostgreSQL server programs here' : false,
}, () => {
  let server: TestServer;
  let verifiers: VerifierSource;
  let proxy: Listener;
  let tls: ClientTls | null = null;
  let tlsRequired = false;
  const outcomes: AcceptOutcome[] = [];
  const stopped = new AbortController();

  before(async () => {
    server = await startServer(binDir as string);
    await server.sql(`create role service login password 'service'; grant select on pg_authid to service;
      create role app login password 'app'; create role "İvan" login password 'pässwörd ⅷ';
      create role locked nologin password 'x'; create role gone login password 'x' valid until '2001-01-01'`);
    verifiers = createVerifierSource({
      service: { user: 'service', password: 'service' },
      servers: () => [{ host: '127.0.0.1', port: server.port }],
      tls: false,
      clock: monotonicClock,
      logger: pino({ level: 'silent' }),
    });
    proxy = await listen((socket) => void serve(socket));
  });

  after(async () => {
    stopped.abort();
    await proxy[Symbol.asyncDispose]();
    await verifiers.close();
    await server[Symbol.asyncDispose]();
  });

  function target(user: string, database: string, credentials: Credentials): BackendTarget {
    const parameters = new Map([['application_name', 'through the proxy']]);
    return { host: '127.0.0.1', port: server.port, user, database, credentials, parameters, tls: { mode: 'disable' } };
  }

  /** The smallest proxy: one client, one backend, bytes piped. */
  async function serve(socket: Socket): Promise<void> {
    const options = { verifiers, tls, tlsRequired, timeoutMs: 5000, signal: stopped.signal };
    const client = await acceptClient(socket, options);
    outcomes.push(client);
    if (client.kind !== 'client') return;
    try {
      const to = target(client.user, client.database, client.credentials);
      const settings = new Map([...to.parameters, ...client.parameters]);
      settings.delete('options');
      for (const [name, value] of parseStartupOptions(client.parameters.get('options') ?? ''))
        settings.set(name, value);
      const login = { signal: stopped.signal, connectTimeoutMs: 2000 };
      const backend = await loginToBackend({ ...to, parameters: settings }, login);
      for (const [name, value] of backend.parameters) client.socket.write(encode.parameterStatus(name, value));
      client.socket.write(encode.backendKeyData(backend.processId, backend.secretKey));
      client.socket.write(encode.READY_IDLE);
      client.socket.on('close', () => backend.socket.destroy());
      backend.socket.on('close', () => client.socket.destroy());
      client.socket.pipe(backend.socket).pipe(client.socket);
    } catch (error) {
      assert.ok(error instanceof ClientError, String(error));
      closeWith(client.socket, encode.errorResponse(error));
    }
  }

  async function psql(url: string, sql: string, env: Record<string, string> = {}): ReturnType<typeof command> {
    return command('psql', ['-XAtq', '-d', url, '-c', sql], env);
  }
  const url = (user: string, password: string, rest = ''): string =>
    `postgres://${encodeURIComponent(user)}:${encodeURIComponent(password)}@127.0.0.1:${proxy.port}/${rest}`;

  test('psql and pg log in with the role’s own password', async () => {
    const result = await psql(url('app', 'app', 'postgres'), 'select current_user, session_user');
    assert.deepEqual(result, { code: 0, stdout: 'app|app\n', stderr: '' });
    const client = new Client({ connectionString: url('app', 'app', 'postgres') });
    await client.connect();
    assert.deepEqual((await client.query('select $1::int + 1 as n', [41])).rows, [{ n: 42 }]);
    await client.end();
  });

  test('a password and a name outside of ASCII log in', async () => {
    const result = await psql(url('İvan', 'pässwörd ⅷ', 'postgres'), 'select current_user');
    assert.deepEqual([result.stdout, result.stderr], ['İvan\n', '']);
  });

  test('settings of the connection string reach the server', async () => {
    const result = await psql(url('app', 'app', 'postgres'), 'show work_mem', { PGOPTIONS: '-c work_mem=7MB' });
    assert.deepEqual([result.stdout, result.stderr], ['7MB\n', '']);
  });

  for (const [name, user, password] of [
    ['a wrong password', 'app', 'wrong'],
    ['an unknown user', 'nobody', 'x'],
    ['a role that may not log in', 'locked', 'x'],
    ['an expired password', 'gone', 'x'],
  ] as const) {
    test(`${name} is refused with PostgreSQL’s words`, async () => {
      const result = await psql(url(user, password, 'postgres'), 'select 1');
      assert.equal(result.code, 2);
      assert.match(result.stderr, new RegExp(`FATAL: {2}password authentication failed for user "${user}"`));
      const client = new Client({ connectionString: url(user, password, 'postgres') });
      await assert.rejects(client.connect(), { code: '28P01' });
    });
  }

  test('an unknown database is refused with the server’s own error', async () => {
    const client = new Client({ connectionString: url('app', 'app', 'missing') });
    await assert.rejects(client.connect(), { code: '3D000', message: 'database "missing" does not exist' });
  });

  test('a changed password counts at once, and keys of the old one are told to be outdated', async () => {
    await server.sql(`create role changing login password 'one'`);
    assert.equal((await psql(url('changing', 'one', 'postgres'), 'select 1')).stdout, '1\n');
    const old = outcomes.at(-1);
    assert.ok(old?.kind === 'client');
    await server.sql(`alter role changing password 'two'`);
    assert.equal((await psql(url('changing', 'two', 'postgres'), 'select 1')).stdout, '1\n');
    assert.match((await psql(url('changing', 'one', 'postgres'), 'select 1')).stderr, /password authentication failed/);
    const login = { signal: stopped.signal, connectTimeoutMs: 2000 };
    await assert.rejects(loginToBackend(target('changing', 'postgres', old.credentials), login), {
      sqlState: '28P01',
      message: /was changed since this session logged in/,
    });
  });

  test('the service’s password logs in, a wrong one and a wrong server proof do not', async () => {
    const login = { signal: stopped.signal, connectTimeoutMs: 2000 };
    const good = await loginToBackend(target('service', 'postgres', { kind: 'password', password: 'service' }), login);
    assert.ok(good.processId > 0 && good.parameters.has('server_version'));
    assert.equal(good.socket.isPaused(), true);
    good.socket.destroy();
    const bad = target('service', 'postgres', { kind: 'password', password: 'x' });
    await assert.rejects(loginToBackend(bad, login), { sqlState: '28P01' });
  });

  test('a server that is not there, or does not answer, is reported as unreachable', async () => {
    const login = { signal: stopped.signal, connectTimeoutMs: 200 };
    const nobody = { ...target('app', 'postgres', { kind: 'password', password: 'x' }), port: 1 };
    await assert.rejects(loginToBackend(nobody, login), { code: 'BACKEND_UNREACHABLE', message: /connection refused/ });
    await using silent = await listen(() => {});
    await assert.rejects(loginToBackend({ ...nobody, port: silent.port }, login), {
      code: 'BACKEND_UNREACHABLE',
      message: /no answer within 200 ms/,
    });
    await using closing = await listen((socket) => socket.end());
    await assert.rejects(loginToBackend({ ...nobody, port: closing.port }, login), {
      code: 'BACKEND_UNREACHABLE',
      message: /closed the connection/,
    });
    const aborted = AbortSignal.abort(new Error('stopping'));
    await assert.rejects(loginToBackend(nobody, { ...login, signal: aborted }), /stopping/);
  });

  test('a server that asks for what the proxy has no proof for is refused, by name', async () => {
    const verifier = await verifiers.lookup('app', stopped.signal);
    assert.ok(verifier !== null && 'storedKey' in verifier);
    const keys = { kind: 'scram-keys', clientKey: Buffer.alloc(32), verifier } as const;
    for (const [request, words] of [
      [encodeAuth.AUTHENTICATION_CLEARTEXT, /clear-text password/],
      [encodeAuth.authenticationMd5(Buffer.from([1, 2, 3, 4])), /MD5/],
    ] as const) {
      await using fake = await listen((socket) => void socket.once('data', () => socket.write(request)));
      const asking = { ...target('app', 'postgres', keys), port: fake.port };
      const login = { signal: stopped.signal, connectTimeoutMs: 2000 };
      await assert.rejects(loginToBackend(asking, login), { code: 'BACKEND_AUTH', message: words });
    }
  });

  describe('with a certificate', { skip: openssl ? false : 'no openssl program here' }, () => {
    let caFile: string;
    before(async () => {
      const [key, certificate] = [join(server.folder, 'tls.key'), join(server.folder, 'tls.crt')];
      caFile = certificate;
      const request = ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=localhost'];
      const names = ['-addext', 'subjectAltName=IP:127.0.0.1,DNS:localhost'];
      const made = await command('openssl', [...request, ...names, '-keyout', key, '-out', certificate]);
      assert.equal(made.code, 0, made.stderr);
      tls = clientTls(proxyConfig.parse({ tls: { certFile: certificate, keyFile: key } }));
      await command('chown', ['--reference', join(server.folder, 'data'), key, certificate]);
      await server.sql(`alter system set ssl_key_file = '${key}'`);
      await server.sql(`alter system set ssl_cert_file = '${certificate}'`);
      await server.sql('alter system set ssl = on');
      await server.sql('select pg_reload_conf()');
    });

    test('psql and pg log in over TLS, verified', async () => {
      const verified = `postgres?sslmode=verify-full&sslrootcert=${caFile}`;
      const result = await psql(url('app', 'app', verified), 'select 1');
      assert.deepEqual([result.stdout, result.stderr], ['1\n', '']);
      const ssl = { ca: await readFile(caFile) };
      const client = new Client({
        host: '127.0.0.1',
        port: proxy.port,
        user: 'app',
        password: 'app',
        database: 'postgres',
        ssl,
      });
      await client.connect();
      assert.deepEqual((await client.query(`select repeat('x', 300000) as x`)).rows[0].x.length, 300000);
      await client.end();
    });

    test('a proxy that requires TLS refuses a client without it', async () => {
      tlsRequired = true;
      const refused = await psql(url('app', 'app', 'postgres?sslmode=disable'), 'select 1');
      assert.match(refused.stderr, /connections without TLS are refused/);
      assert.equal((await psql(url('app', 'app', 'postgres?sslmode=require'), 'select 1')).stdout, '1\n');
      tlsRequired = false;
    });

    test('the proxy logs in to a server over TLS, verified or not at all', async () => {
      const login = { signal: stopped.signal, connectTimeoutMs: 2000 };
      const service = target('service', 'postgres', { kind: 'password', password: 'service' });
      const ca = await readFile(caFile);
      const secure = await loginToBackend(
        { ...service, tls: { mode: 'verify-full', secureContext: createSecureContext({ ca }) } },
        login,
      );
      assert.equal('encrypted' in secure.socket && secure.socket.encrypted, true);
      secure.socket.destroy();
      const unknown = { ...service, tls: { mode: 'verify-full' } } as const;
      await assert.rejects(loginToBackend(unknown, login), { code: 'BACKEND_TLS', message: /self-signed certificate/ });
      (await loginToBackend({ ...service, tls: { mode: 'require' } }, login)).socket.destroy();
    });
  });

  test('a server that hangs or refuses is passed over, and what is asked at the same moment shares one question', async () => {
    await using silent = await listen(() => {});
    const source = createVerifierSource({
      service: { user: 'service', password: 'service' },
      servers: () => [silent.port, 1, server.port].map((port) => ({ host: '127.0.0.1', port })),
      tls: false,
      clock: monotonicClock,
      logger: pino({ level: 'silent' }),
      timeoutMs: 200,
    });
    const startedMs = performance.now();
    const found = await Promise.all(Array.from({ length: 50 }, () => source.lookup('app', stopped.signal)));
    assert.ok(found.every((verifier) => verifier !== null && 'iterations' in verifier && verifier.iterations === 4096));
    assert.ok(performance.now() - startedMs < 1500);
    const services = `select count(*) from pg_stat_activity where application_name = 'leasehold verifiers'`;
    assert.equal(await server.sql(services), '2', 'one connection of each source');
    await source.close();
    await assert.rejects(source.lookup('app', stopped.signal), { sqlState: '57P03' });
  });

  test('while no server answers, users of the last minutes still log in to the proxy, others are told why', async () => {
    await server.stop();
    const known = await verifiers.lookup('app', stopped.signal);
    assert.ok(known !== null && 'iterations' in known && known.iterations === 4096);
    const client = new Client({ connectionString: url('nobody', 'x', 'postgres') });
    await assert.rejects(client.connect(), { code: '57P03', message: 'no server can be asked who may log in' });
  });
});
