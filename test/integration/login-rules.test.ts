import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { once } from 'node:events';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client } from 'pg';
import { type Authority, createAuthority, type Issued, withoutOpenssl } from '../support/certificates.ts';
import { ProxyCluster } from '../support/proxy-cluster.ts';
import { command } from './login-support.ts';

const RULES = `
# one user for each way of logging in
local   all       app                       scram-sha-256
local   all       +family                   trust
hostssl all       certified  all            cert map=people
hostssl all       twofold     all            scram-sha-256 clientcert=verify-full
host    all       old        samehost       md5
host    all       open       127.0.0.1/32   password
host    all       known,unknown 127.0.0.1/32 trust
host    app       barred     all            reject
hostnossl all     app        ::1/128        reject
host    all       app,postgres,unknown all  scram-sha-256
host    replication postgres 127.0.0.1/32   scram-sha-256
`;

describe('who may log in, by rules, certificates and passwords, with psql and node-postgres', {
  skip: withoutOpenssl,
  timeout: 120_000,
}, () => {
  let cluster: ProxyCluster;
  let ca: Authority;
  let own: Issued;
  const folder = mkdtempSync(join(tmpdir(), 'leasehold-rules-'));
  const hbaFile = join(folder, 'pg_hba.conf');

  before(async () => {
    ca = createAuthority();
    own = ca.issue('localhost', ['IP:127.0.0.1', 'DNS:localhost']);
    writeFileSync(hbaFile, RULES);
    cluster = await ProxyCluster.start({
      followers: 0,
      proxy: {
        listen: { host: '127.0.0.1, ::1', port: 0, unixSocketDir: folder },
        tls: { certFile: own.certFile, keyFile: own.keyFile, clientCaFile: ca.certFile },
        auth: {
          hbaFile,
          ident: ['people  /^(.*)\\.person$  \\1'],
          passwords: { certified: 'certified', known: 'known', member: 'member' },
        },
      },
    });
    await cluster.sql(
      'node1',
      `CREATE ROLE family; CREATE ROLE member LOGIN PASSWORD 'member' IN ROLE family;
       CREATE ROLE certified LOGIN PASSWORD 'certified'; CREATE ROLE twofold LOGIN PASSWORD 'twofold';
       CREATE ROLE open LOGIN PASSWORD 'open'; CREATE ROLE known LOGIN PASSWORD 'known';
       CREATE ROLE unknown LOGIN PASSWORD 'unknown'; CREATE ROLE barred LOGIN PASSWORD 'barred';
       SET password_encryption = 'md5'; CREATE ROLE old LOGIN PASSWORD 'old'`,
    );
    // The role whose password is an md5 hash logs in to the server by md5, as in a cluster that was upgraded.
    const hba = join(cluster.node('node1').data, 'pg_hba.conf');
    writeFileSync(hba, `host all old 127.0.0.1/32 md5\n${readFileSync(hba, 'utf8')}`);
    await cluster.sql('node1', 'SELECT pg_reload_conf()');
  });
  after(async () => {
    await cluster[Symbol.asyncDispose]();
    ca.remove();
    rmSync(folder, { recursive: true });
  });

  /** What psql prints for this query, or its error. */
  async function psql(parameters: Record<string, string>, sql = 'SELECT current_user'): Promise<string> {
    const all = { host: '127.0.0.1', port: String(cluster.port), dbname: 'app', connect_timeout: '10', ...parameters };
    const conninfo = Object.entries(all).map(([name, value]) => `${name}='${value}'`);
    const result = await command('psql', ['-XAtqw', '-d', conninfo.join(' '), '-c', sql], {
      PGPASSFILE: join(folder, 'none'),
    });
    return (result.stdout + result.stderr).trim();
  }

  function withCertificate(issued: Issued): Record<string, string> {
    return { sslmode: 'verify-full', sslrootcert: ca.certFile, sslcert: issued.certFile, sslkey: issued.keyFile };
  }

  const app = { user: 'app', password: 'app' };

  for (const mode of ['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full']) {
    test(`psql with sslmode=${mode}`, async () => {
      assert.equal(await psql({ ...app, sslmode: mode, sslrootcert: ca.certFile, sslcert: '', sslkey: '' }), 'app');
    });
  }

  test('psql does not take a proxy with a certificate of another authority, or for another name', async () => {
    const foreign = createAuthority();
    const verify = { ...app, sslmode: 'verify-ca', sslrootcert: foreign.certFile };
    assert.match(await psql(verify), /certificate verify failed/);
    foreign.remove();
    const named = { ...app, sslmode: 'verify-full', sslrootcert: ca.certFile, host: 'other', hostaddr: '127.0.0.1' };
    assert.match(await psql(named), /does not match host name "other"/);
  });

  test('psql with channel binding required logs in over TLS', async () => {
    assert.equal(await psql({ ...app, sslmode: 'require', channel_binding: 'require' }), 'app');
    assert.match(await psql({ ...app, sslmode: 'disable', channel_binding: 'require' }), /channel binding/);
  });

  test('node-postgres logs in over verified TLS, with channel binding, and by direct TLS', async () => {
    const ssl = { ca: ca.cert };
    const to = { host: '127.0.0.1', port: cluster.port, database: 'app', ...app, ssl };
    for (const more of [{}, { enableChannelBinding: true }]) {
      const client = new Client({ ...to, ...more });
      await client.connect();
      assert.equal((await client.query('SELECT current_user AS me')).rows[0].me, 'app');
      await client.end();
    }
    const direct = new Client({ ...to, ssl: { ...ssl, ALPNProtocols: ['postgresql'] }, sslnegotiation: 'direct' });
    await direct.connect();
    assert.equal((await direct.query('SELECT current_user AS me')).rows[0].me, 'app');
    await direct.end();
  });

  test('a certificate whose name the map turns into the user logs in; another does not, nor does none', async () => {
    const certified = { user: 'certified' };
    assert.equal(await psql({ ...certified, ...withCertificate(ca.issue('certified.person')) }), 'certified');
    const refused = /certificate authentication failed for user "certified"/;
    assert.match(await psql({ ...certified, ...withCertificate(ca.issue('other.person')) }), refused);
    assert.match(await psql({ ...certified, ...withCertificate(ca.issue('certified')) }), refused);
    const none = { ...certified, sslmode: 'require', sslcert: '', sslkey: '' };
    assert.match(await psql(none), /connection requires a valid client certificate/);
  });

  test('a certificate of another authority is refused with the reason', async () => {
    const foreign = createAuthority();
    const shown = { ...withCertificate(foreign.issue('certified.person')), user: 'certified' };
    assert.match(await psql(shown), /the client certificate is not valid\n.*DETAIL: .*/);
    foreign.remove();
  });

  test('a password and a certificate together', async () => {
    const both = { user: 'twofold', password: 'twofold' };
    assert.equal(await psql({ ...both, ...withCertificate(ca.issue('twofold')) }), 'twofold');
    assert.match(await psql({ ...both, ...withCertificate(ca.issue('other')) }), /authentication failed/);
    assert.match(
      await psql({ ...both, password: 'x', ...withCertificate(ca.issue('twofold')) }),
      /password authentication failed/,
    );
  });

  test('an md5 hash logs in by md5, to the proxy and to the server', async () => {
    assert.equal(await psql({ user: 'old', password: 'old' }), 'old');
    assert.match(await psql({ user: 'old', password: 'new' }), /password authentication failed for user "old"/);
  });

  test('a password in clear text, where a rule asks for it', async () => {
    assert.equal(await psql({ user: 'open', password: 'open' }), 'open');
    assert.match(await psql({ user: 'open', password: 'wrong' }), /password authentication failed for user "open"/);
  });

  test('trust: with a password of the configuration, a clear error without one, and with a proof that was given before', async () => {
    assert.equal(await psql({ user: 'known' }), 'known');
    const refused = await psql({ user: 'unknown' });
    assert.match(refused, /no proof of user "unknown" that a server would take/);
    assert.match(refused, /HINT: .*proxy\.auth\.passwords/);
    // A log-in by SCRAM leaves a proof that serves the next one by trust.
    const proven = { user: 'unknown', password: 'unknown', host: '::1', sslmode: 'disable' };
    assert.equal(await psql(proven), 'unknown');
    assert.equal(await psql({ user: 'unknown' }), 'unknown');
  });

  test('over the Unix socket, by a rule for members of a role', async () => {
    assert.equal(await psql({ ...app, host: folder }), 'app');
    assert.equal(await psql({ user: 'member', host: folder }), 'member');
    assert.match(
      await psql({ user: 'open', password: 'open', host: folder }),
      /no pg_hba.conf entry for host "\[local\]", user "open", database "app", no encryption/,
    );
  });

  test('who fits no rule, or one that rejects, is told as PostgreSQL tells it', async () => {
    assert.match(
      await psql({ user: 'nobody', password: 'x', sslmode: 'disable' }),
      /FATAL: {2}no pg_hba.conf entry for host "127.0.0.1", user "nobody", database "app", no encryption/,
    );
    assert.match(
      await psql({ user: 'barred', password: 'barred', sslmode: 'require' }),
      /FATAL: {2}pg_hba.conf rejects connection for host "127.0.0.1", user "barred", database "app", SSL encryption/,
    );
    assert.match(
      await psql({ ...app, host: '::1', sslmode: 'disable' }),
      /FATAL: {2}pg_hba.conf rejects connection for host "::1", user "app", database "app", no encryption/,
    );
    assert.equal(await psql({ ...app, host: '::1', sslmode: 'require' }), 'app');
  });

  test('rules that change on disk count for the next client', async () => {
    writeFileSync(hbaFile, `host all barred all scram-sha-256\n${RULES}`);
    for (let i = 0; (await psql({ user: 'barred', password: 'barred' })) !== 'barred'; i++) {
      assert.ok(i < 50, 'the new rules do not come');
      await sleep(100);
    }
  });

  test('a thousand connections that say nothing do not shut the door', async () => {
    const idle = Array.from({ length: 1_100 }, () => connect(cluster.port, '127.0.0.1'));
    for (const socket of idle) socket.on('error', () => {});
    await Promise.all(idle.map((socket) => once(socket, 'connect')));
    assert.equal(await psql(app), 'app');
    for (const socket of idle) socket.destroy();
  });
});
