import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { freePorts } from '../../test/support/ports.ts';
import { proxyConfig } from '../../common/config/schema.ts';
import { openDoors } from './listener.ts';

const folder = mkdtempSync(join(tmpdir(), 'leasehold-doors-'));
after(() => rmSync(folder, { recursive: true }));

function at(settings: object) {
  return proxyConfig.parse({ listen: { port: 0, ...settings } }).listen;
}

/** Where a connection came in. */
async function comesIn(
  to: { readonly host: string; readonly port: number } | { readonly path: string },
  seen: boolean[],
) {
  const before = seen.length;
  const socket = connect({ ...to });
  await once(socket, 'connect');
  while (seen.length === before) await new Promise((resolve) => setImmediate(resolve));
  socket.destroy();
  return seen.at(-1) === true ? 'local' : 'host';
}

test('several addresses and a Unix socket have one port, and the socket’s files go with it', async () => {
  const seen: boolean[] = [];
  const settings = at({ host: '127.0.0.1, ::1', unixSocketDir: folder, unixSocketMode: '0770' });
  const doors = await openDoors(settings, (socket, local) => {
    seen.push(local);
    socket.destroy();
  });
  const { port } = doors;
  const path = join(folder, `.s.PGSQL.${port}`);
  assert.equal(await comesIn({ host: '127.0.0.1', port }, seen), 'host');
  assert.equal(await comesIn({ host: '::1', port }, seen), 'host');
  assert.equal(await comesIn({ path }, seen), 'local');
  assert.equal(statSync(path).mode & 0o777, 0o770);
  assert.match(readFileSync(`${path}.lock`, 'utf8'), new RegExp(`^${process.pid}\n`));
  await doors.stopListening();
  assert.deepEqual([existsSync(path), existsSync(`${path}.lock`)], [false, false]);
});

test('every address of both families', async () => {
  const seen: boolean[] = [];
  const doors = await openDoors(at({ host: '*' }), (socket, local) => {
    seen.push(local);
    socket.destroy();
  });
  const { port } = doors;
  assert.equal(await comesIn({ host: '127.0.0.1', port }, seen), 'host');
  assert.equal(await comesIn({ host: '::1', port }, seen), 'host');
  await doors.stopListening();
});

test('the socket of a process that is gone is replaced, that of a living one is not, unless it is taken over', async () => {
  const [port] = (await freePorts(1)) as [number];
  const path = join(folder, `.s.PGSQL.${port}`);
  const gone = spawn('true');
  await once(gone, 'exit');
  const living = spawn('sleep', ['60']);
  const settings = { host: '127.0.0.1', unixSocketDir: folder };
  writeFileSync(path, '');
  writeFileSync(`${path}.lock`, `${gone.pid}\n`);
  const doors = await openDoors(at({ ...settings, port }), (socket) => socket.destroy());
  await doors.stopListening();
  writeFileSync(`${path}.lock`, `${living.pid}\n`);
  await assert.rejects(
    openDoors(at({ ...settings, port }), () => {}),
    {
      code: 'PORT_IN_USE',
      message: new RegExp(`process ${living.pid} uses the socket`),
    },
  );
  const seen: boolean[] = [];
  const successor = await openDoors(at({ ...settings, port, reusePort: true }), (socket, local) => {
    seen.push(local);
    socket.destroy();
  });
  assert.equal(await comesIn({ path }, seen), 'local');
  writeFileSync(`${path}.lock`, `${living.pid}\n`);
  await successor.stopListening();
  assert.equal(existsSync(path), true, 'it is another’s by now');
  living.kill();
  rmSync(path);
});

test('a path that is too long, and a folder that is not there, are told with the setting', async () => {
  const long = at({ unixSocketDir: `/tmp/${'x'.repeat(100)}` });
  await assert.rejects(
    openDoors(long, () => {}),
    { code: 'LISTEN', message: /too long for a Unix socket/ },
  );
  const absent = at({ unixSocketDir: join(folder, 'absent') });
  await assert.rejects(
    openDoors(absent, () => {}),
    { code: 'LISTEN', message: /proxy\.listen\.unixSocketDir.*ENOENT/ },
  );
});
