import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { test } from 'node:test';
import { Client } from 'pg';
import { GuardedSocket } from './guarded-socket.ts';

test('a server that sends what nobody can read costs its connection, not the process', async () => {
  const row = Buffer.from([0x44, 0, 0, 0, 12, 0, 1, 0x7f, 0xff, 0xff, 0xff, 1, 2]);
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.once('data', () => socket.end(Buffer.concat([row, row])));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  try {
    const { port } = server.address() as AddressInfo;
    const client = new Client({ host: '127.0.0.1', port, user: 'a', stream: () => new GuardedSocket() });
    client.on('error', () => undefined);
    await assert.rejects(client.connect());
  } finally {
    server.close();
  }
});
