import assert from 'node:assert/strict';
import { chmodSync, chownSync, copyFileSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { Client } from 'pg';
import { proxyConfig } from '../../common/config/schema.ts';
import { loginToBackend } from '../../proxy/auth/backend-login.ts';
import { keysOfPassword, parseVerifier } from '../../proxy/auth/scram.ts';
import type { BackendLogin, BackendTls, Credentials } from '../../proxy/auth/types.ts';
import { backendTls, driverTls } from '../../proxy/server/tls.ts';
import { type Authority, createAuthority, withoutOpenssl } from '../support/certificates.ts';
import { postgresBinDir, startServer, type TestServer } from './login-support.ts';

const binDir = await postgresBinDir();

const RULES = `
hostssl   all certified all cert
hostssl   all plain     all reject
hostnossl all secret    all reject
`;

describe('logging in to a server with TLS', {
  skip: binDir === null ? 'no PostgreSQL server programs here' : withoutOpenssl,
  timeout: 60_000,
}, () => {
  let server: TestServer;
  let ca: Authority;
  let foreign: Authority;

  before(async () => {
    ca = createAuthority();
    foreign = createAuthority();
    server = await startServer(binDir as string);
    const data = join(server.folder, 'data');
    const own = ca.issue('localhost', ['DNS:localhost']);
    const { uid, gid } = statSync(data);
    const files = { 'server.crt': own.certFile, 'server.key': own.keyFile, 'root.crt': ca.certFile };
    for (const [name, from] of Object.entries(files)) {
      const path = join(data, name);
      copyFileSync(from, path);
      chmodSync(path, 0o600);
      chownSync(path, uid, gid);
    }
    const hba = join(data, 'pg_hba.conf');
    writeFileSync(hba, RULES + readFileSync(hba, 'utf8'));
    await server.sql('create role certified login');
    for (const name of ['app', 'plain', 'secret']) await server.sql(`create role ${name} login password '${name}'`);
    await server.sql("alter system set ssl_ca_file = 'root.crt'");
    await server.sql('alter system set ssl = on');
    await server.sql('select pg_reload_conf()');
  });
  after(async () => {
    await server[Symbol.asyncDispose]();
    ca.remove();
    foreign.remove();
  });

  function tlsOf(settings: object): BackendTls {
    return backendTls(proxyConfig.parse({ serverTls: settings }));
  }

  async function login(
    user: string,
    tls: BackendTls,
    host = '127.0.0.1',
    credentials: Credentials = { kind: 'password', password: user },
  ): Promise<BackendLogin> {
    const target = { host, port: server.port, user, database: 'postgres', credentials, parameters: new Map(), tls };
    const made = await loginToBackend(target, { signal: AbortSignal.timeout(10_000), connectTimeoutMs: 5_000 });
    made.socket.destroy();
    return made;
  }

  async function isEncrypted(user: string, settings: object, host?: string): Promise<boolean> {
    return 'encrypted' in (await login(user, tlsOf(settings), host)).socket;
  }

  test('each mode of libpq', async () => {
    const caFile = ca.certFile;
    assert.equal(await isEncrypted('app', { mode: 'disable' }), false);
    assert.equal(await isEncrypted('app', { mode: 'allow' }), false);
    assert.equal(await isEncrypted('app', { mode: 'prefer' }), true);
    assert.equal(await isEncrypted('app', { mode: 'require' }), true);
    assert.equal(await isEncrypted('app', { mode: 'verify-ca', caFile }), true);
    assert.equal(await isEncrypted('app', { mode: 'verify-full', caFile }, 'localhost'), true);
  });

  test('prefer and allow try the other way where the server’s rules refuse the first', async () => {
    assert.equal(await isEncrypted('plain', { mode: 'prefer' }), false);
    assert.equal(await isEncrypted('secret', { mode: 'allow' }), true);
    await assert.rejects(login('plain', tlsOf({ mode: 'require' })), { sqlState: '28000' });
    await assert.rejects(login('secret', tlsOf({ mode: 'disable' })), { sqlState: '28000' });
  });

  test('a certificate of another authority, of none that is known, or for another name is refused', async () => {
    for (const caFile of [foreign.certFile, 'system']) {
      const unknown = tlsOf({ mode: 'verify-ca', caFile });
      await assert.rejects(login('app', unknown), { code: 'BACKEND_TLS' });
    }
    const full = tlsOf({ mode: 'verify-full', caFile: ca.certFile });
    await assert.rejects(login('app', full, '127.0.0.1'), { code: 'BACKEND_TLS', message: /IP|alt/ });
  });

  test('with the proxy’s own certificate a server lets in without a password', async () => {
    const { certFile, keyFile } = ca.issue('certified');
    const shown = tlsOf({ mode: 'require', certFile, keyFile });
    await login('certified', shown, '127.0.0.1', { kind: 'none', method: 'trust' });
    await assert.rejects(login('certified', tlsOf({ mode: 'require' })), { sqlState: '28000' });
    await assert.rejects(login('app', shown, '127.0.0.1', { kind: 'none', method: 'trust' }), {
      sqlState: '28000',
      message: /no proof of user "app"/,
    });
  });

  test('channel binding, with a password and with the keys of a client’s own log-in', async () => {
    const bound = tlsOf({ mode: 'require', channelBinding: 'require' });
    await login('app', bound);
    const text = await server.sql("select rolpassword from pg_authid where rolname = 'app'");
    const verifier = parseVerifier(text);
    assert.ok(verifier !== null);
    const { clientKey } = await keysOfPassword('app', verifier.salt, verifier.iterations);
    await login('app', bound, '127.0.0.1', { kind: 'scram-keys', clientKey, verifier });
    await login('app', tlsOf({ mode: 'require', channelBinding: 'disable' }));
    const plain = { ...bound, mode: 'disable' } as const;
    await assert.rejects(login('app', plain), { code: 'BACKEND_AUTH', message: /channelBinding is require/ });
  });

  test('the service’s connections are verified as well', async () => {
    const connect = async (settings: object): Promise<boolean> => {
      const tls = tlsOf(settings);
      const client = new Client({
        host: 'localhost',
        port: server.port,
        user: 'app',
        password: 'app',
        database: 'postgres',
        ssl: driverTls(() => tls),
      });
      await client.connect();
      const { rows } = await client.query('select ssl from pg_stat_ssl where pid = pg_backend_pid()');
      await client.end();
      return rows[0].ssl;
    };
    assert.equal(await connect({ mode: 'verify-full', caFile: ca.certFile }), true);
    assert.equal(await connect({ mode: 'require' }), true);
    await assert.rejects(connect({ mode: 'verify-ca', caFile: foreign.certFile }), /certificate/);
  });

  test('over a Unix socket nothing is encrypted, whatever the mode', async () => {
    const made = await login('postgres', tlsOf({ mode: 'require' }), server.folder);
    assert.equal('encrypted' in made.socket, false);
  });
});
