import assert from 'node:assert/strict';
import { chmodSync, chownSync, copyFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { Client } from 'pg';
import { parseTerm } from '../../common/lsn.ts';
import { RewindFailed } from '../../election/postgres/errors.ts';
import { identityFor } from '../../election/postgres/identity.ts';
import { type Authority, createAuthority, withoutOpenssl } from '../support/certificates.ts';
import { freePorts } from '../support/ports.ts';
import { connect, inTerm, makeNode, type Node, PASSWORD, signal, until } from '../support/postgres-node.ts';

const folder = mkdtempSync(join(tmpdir(), 'leasehold-replication-tls-'));
chmodSync(folder, 0o755);

/** Where PostgreSQL's user may read it, and others may not. */
function place(file: string, name: string): string {
  const path = join(folder, name);
  copyFileSync(file, path);
  chmodSync(path, 0o600);
  const user = identityFor(undefined);
  if (user.switchUser) chownSync(path, user.uid, user.gid);
  return path;
}

describe('TLS between nodes, with verification', { skip: withoutOpenssl }, () => {
  let authority: Authority;
  let stranger: Authority;
  let ports: [number, number];
  let parameters: Record<string, string>;
  let a: Node;
  let b: Node;

  before(async () => {
    authority = createAuthority();
    stranger = createAuthority();
    const issued = authority.issue('node', ['IP:127.0.0.1']);
    parameters = {
      ssl: 'on',
      ssl_cert_file: place(issued.certFile, 'server.crt'),
      ssl_key_file: place(issued.keyFile, 'server.key'),
    };
    ports = (await freePorts(2)) as [number, number];
    const tls = { mode: 'verify-full', caFile: place(authority.certFile, 'ca.crt') };
    a = makeNode(folder, 'node-a', ports[0], { parameters, tls });
    b = makeNode(folder, 'node-b', ports[1], { parameters, tls });
    await a.server.initialise(signal());
    await a.server.start({ role: 'leader', peer: null }, signal());
    await a.server.setSynchronous([], 0, signal());
    await a.server.openToClients(true, signal());
    await a.server.ensureSlots(parseTerm(1), ['node-b'], signal());
  });

  after(async () => {
    await a?.server.killNow();
    await b?.server.killNow();
    authority?.remove();
    stranger?.remove();
    rmSync(folder, { recursive: true, force: true });
  });

  test('a node that does not believe the leader’s certificate clones nothing from it, and says why', async () => {
    const tls = { mode: 'verify-full', caFile: place(stranger.certFile, 'stranger.crt') };
    const other = makeNode(folder, 'node-b', ports[1], { parameters, tls });
    await assert.rejects(other.server.clone(inTerm(a, 1), null, signal()), /certificate verify failed/);
  });

  test('one that does clones and streams, encrypted', async () => {
    await b.server.clone(inTerm(a, 1), null, signal());
    await b.server.start({ role: 'follower', peer: inTerm(a, 1) }, signal());
    await until(b, 'streams', (one) => one.receiver.streaming);
    const client = await connect(a, 'postgres', 'postgres', 'postgres');
    const { rows } = await client.query('SELECT ssl FROM pg_stat_replication JOIN pg_stat_ssl USING (pid)');
    await client.end();
    assert.deepEqual(rows, [{ ssl: true }]);
  });

  test('a leader refuses a follower that comes in the clear', async () => {
    const { host, port } = a.peer;
    const login = { host, port, user: 'leasehold_replication', password: PASSWORD };
    for (const more of [{ replication: 'true' }, { database: 'postgres' }]) {
      const clear = new Client({ ...login, ...more } as object);
      clear.on('error', () => undefined);
      await assert.rejects(clear.connect(), { code: '28000' });
      const encrypted = new Client({ ...login, ...more, ssl: { ca: authority.cert } } as object);
      encrypted.on('error', () => undefined);
      await encrypted.connect();
      await encrypted.end();
    }
  });

  test('an old leader is rewound over TLS, and by nobody whom it does not believe', async () => {
    await a.server.killNow();
    await b.server.follow(null, signal());
    await b.server.setSynchronous([], 0, signal());
    await b.server.promote(signal());
    await b.server.ensureSlots(parseTerm(2), ['node-a'], signal());
    await b.server.checkpoint(signal());
    const tls = { mode: 'verify-full', caFile: join(folder, 'stranger.crt') };
    const mistrusting = makeNode(folder, 'node-a', ports[0], { parameters, tls });
    await assert.rejects(mistrusting.server.rewind(inTerm(b, 2), signal()), RewindFailed);
    await a.server.rewind(inTerm(b, 2), signal());
    await a.server.start({ role: 'follower', peer: inTerm(b, 2) }, signal());
    await until(a, 'streams', (one) => one.receiver.streaming && one.timeline === 2);
  });
});
