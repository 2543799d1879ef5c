import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { afterEach, beforeEach, test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { bytesWrittenTo, DirectSocket, onChunks, sendAllTo, writeAllTo, writeTo } from './direct-socket.ts';

let server: Server;
let accepted: Promise<DirectSocket>;
const open: Socket[] = [];

beforeEach(async () => {
  server = createServer({ noDelay: true });
  accepted = new Promise((done) => server.once('connection', (socket) => done(DirectSocket.adopt(socket))));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
});

afterEach(async () => {
  for (const socket of open.splice(0)) socket.destroy();
  if (server.listening) await new Promise((done) => server.close(done));
});

async function pair(): Promise<{ readonly peer: Socket; readonly direct: DirectSocket }> {
  const peer = connect((server.address() as AddressInfo).port, '127.0.0.1');
  const direct = await accepted;
  open.push(peer, direct);
  for (const socket of open) socket.on('error', () => undefined);
  if (peer.connecting) await once(peer, 'connect');
  return { peer, direct };
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await turn();
}

test('what came before its chunks were taken comes first, and nothing twice', async () => {
  const { peer, direct } = await pair();
  direct.pause();
  peer.write('one ');
  for (let i = 0; i < 20; i += 1) await turn();
  direct.unshift(Buffer.from('zero '));
  const got: string[] = [];
  onChunks(direct, (chunk) => got.push(chunk.toString()));
  direct.resume();
  peer.write('two');
  await until(() => got.join('').length >= 12);
  assert.equal(got.join(''), 'zero one two');
});

test('chunks keep their bytes when more arrives', async () => {
  const { peer, direct } = await pair();
  const got: Buffer[] = [];
  onChunks(direct, (chunk) => got.push(chunk));
  direct.resume();
  for (const text of ['aaaa', 'bbbb', 'cccc']) {
    const before = got.length;
    peer.write(text);
    await until(() => got.length > before);
  }
  assert.equal(Buffer.concat(got).toString(), 'aaaabbbbcccc');
});

test('a pause holds what arrives back, and a resume goes on with it', async () => {
  const { peer, direct } = await pair();
  const got: string[] = [];
  onChunks(direct, (chunk) => {
    got.push(chunk.toString());
    direct.pause();
  });
  direct.resume();
  peer.write('one');
  await until(() => got.length === 1);
  peer.write('two');
  for (let i = 0; i < 50; i += 1) await turn();
  assert.deepEqual(got, ['one']);
  direct.resume();
  await until(() => got.length === 2);
  assert.deepEqual(got, ['one', 'two']);
});

test('a peer that does not read makes writes wait, in order, and all of it arrives', async () => {
  const { peer, direct } = await pair();
  peer.pause();
  const piece = Buffer.alloc(256 * 1024);
  let sent = 0;
  let fits = true;
  while (fits) {
    piece.fill(sent % 251);
    fits = writeTo(direct, Buffer.from(piece));
    sent += 1;
    assert.ok(sent < 1000, 'nothing ever waited');
  }
  assert.equal(direct.writableNeedDrain, true);
  writeTo(direct, Buffer.from('the end'));
  const drained = once(direct, 'drain');
  const got: Buffer[] = [];
  let size = 0;
  peer.on('data', (chunk: Buffer) => {
    got.push(chunk);
    size += chunk.length;
  });
  peer.resume();
  await drained;
  const expected = sent * piece.length + 7;
  await until(() => size === expected);
  const all = Buffer.concat(got);
  for (let i = 0; i < sent; i += 1) assert.equal(all[i * piece.length + 5], i % 251);
  assert.equal(all.toString('latin1', expected - 7), 'the end');
  assert.equal(bytesWrittenTo(direct), expected);
});

test('pieces go in one write, in order, small and large', async () => {
  const { peer, direct } = await pair();
  const got: Buffer[] = [];
  peer.on('data', (chunk: Buffer) => got.push(chunk));
  writeAllTo(direct, [Buffer.from('a'), Buffer.from('b'), Buffer.from('c')]);
  await until(() => got.length > 0);
  assert.equal(got[0]?.toString(), 'abc');
  writeAllTo(direct, [Buffer.alloc(20_000, 'x'), Buffer.alloc(20_000, 'y')]);
  await until(() => Buffer.concat(got).length === 40_003);
  assert.equal(Buffer.concat(got)[20_002], 'x'.charCodeAt(0));
  assert.equal(Buffer.concat(got)[20_003], 'y'.charCodeAt(0));
});

test('the end of the peer, and a connection that it has reset, are told as by any socket', async () => {
  const { peer, direct } = await pair();
  onChunks(direct, () => undefined);
  direct.resume();
  peer.end();
  await once(direct, 'end');
  assert.equal(direct.destroyed || direct.readableEnded, true);
});

test('a write to a connection that is broken is noticed at once, and tells an error', async () => {
  const { peer, direct } = await pair();
  direct.pause();
  peer.resetAndDestroy();
  await until(() => peer.closed);
  const failed = new Promise((done) => direct.once('close', done));
  await until(() => {
    writeTo(direct, Buffer.from('x'));
    return direct.errored !== null;
  });
  await failed;
});

test('what the kernel has taken a part of counts as sent, also when it refuses the rest', async () => {
  const { peer, direct } = await pair();
  direct.pause();
  assert.equal(sendAllTo(direct, [Buffer.from('a'), Buffer.from('b')]), true);
  // The stream's own write fails at once, as after a reset; what was passed by before it stays sent.
  direct.write = (): boolean => {
    direct.destroy();
    return false;
  };
  peer.pause();
  const much = Buffer.alloc(32 * 1024 * 1024);
  assert.equal(sendAllTo(direct, [much]), true);
  assert.ok(direct.bytesPassedBy > 2 && direct.bytesPassedBy < much.length, `${direct.bytesPassedBy}`);
  assert.equal(sendAllTo(direct, [Buffer.from('c')]), false);
});

test('a server waits for the connections that were taken over', async () => {
  const { peer, direct } = await pair();
  const closed = new Promise((done) => server.close(done));
  assert.equal(await Promise.race([closed.then(() => 'closed'), turn().then(() => 'waits')]), 'waits');
  direct.destroy();
  peer.destroy();
  await closed;
});
