import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { loginToBackend } from '../../proxy/auth/backend-login.ts';
import * as encode from '../../proxy/wire/encode.ts';
import { FrameReader, gatherLimits } from '../../proxy/wire/frames.ts';
import { ProxyCluster } from '../support/proxy-cluster.ts';
import { parse } from '../support/steps.ts';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

const MB = 1024 * 1024;
/** More than any buffer of the proxy, and enough that a copy of it would be seen. */
const SIZE = 160 * MB;
const CHUNK = Buffer.alloc(64 * 1024, 'x');
/** What may be held of a message at one time, in the client's own buffers and the proxy's. */
const HELD = 24 * MB;

/** Client, proxy and measurement are one process; the client keeps nothing of what it sends and gets. */
describe('messages of any length are passed on with bounded memory', () => {
  let cluster: ProxyCluster;
  before(async () => {
    cluster = await ProxyCluster.start({ followers: 0, proxy: { maxBufferBytes: MB } });
    await cluster.sql('node1', 'CREATE TABLE public.big (t text); GRANT ALL ON public.big TO app');
  });
  after(() => cluster[Symbol.asyncDispose]());

  async function connect(): Promise<Socket> {
    const { socket } = await loginToBackend(
      {
        host: '127.0.0.1',
        port: cluster.port,
        user: 'app',
        database: 'app',
        credentials: { kind: 'password', password: 'app' },
        parameters: new Map(),
        tls: { mode: 'disable' },
      },
      { signal: AbortSignal.timeout(15_000), connectTimeoutMs: 15_000 },
    );
    socket.on('error', () => undefined);
    return socket;
  }

  async function sendChunks(socket: Socket, bytes: number): Promise<void> {
    for (let left = bytes; left > 0; left -= CHUNK.length) {
      if (!socket.write(left >= CHUNK.length ? CHUNK : CHUNK.subarray(0, left))) await once(socket, 'drain');
    }
  }

  /** Counts bytes by message type until ReadyForQuery; whole small messages are kept. */
  function answers(socket: Socket): Promise<{ bytes: Map<string, number>; small: string[] }> {
    const bytes = new Map<string, number>();
    const small: string[] = [];
    return new Promise((resolve, reject) => {
      const count = (type: number, size: number): void => {
        const key = String.fromCharCode(type);
        bytes.set(key, (bytes.get(key) ?? 0) + size);
      };
      const sink = {
        onMessage(type: number, buffer: Buffer, start: number, end: number): boolean {
          count(type, end - start);
          if (end - start < 200) small.push(`${String.fromCharCode(type)}${buffer.toString('latin1', start + 5, end)}`);
          if (type === 0x5a) resolve({ bytes, small });
          return true;
        },
        onPart(type: number, _: Buffer, start: number, end: number): boolean {
          count(type, end - start);
          return true;
        },
      };
      const reader = new FrameReader(sink, gatherLimits('123CEIKNRSZtns', MB, 'TDdGHc'));
      socket.on('data', (chunk: Buffer) => reader.push(chunk));
      socket.once('close', () => reject(new Error('closed')));
      socket.resume();
    });
  }

  async function bounded(work: () => Promise<void>): Promise<void> {
    // What is held, and not what waits for the collector on a busy machine.
    const held = (): number => {
      collect();
      return process.memoryUsage().arrayBuffers;
    };
    const before = held();
    let most = before;
    const timer = setInterval(() => {
      most = Math.max(most, held());
    }, 20);
    try {
      await work();
    } finally {
      clearInterval(timer);
    }
    assert.ok(most - before < HELD, `held ${Math.round((most - before) / MB)} MB`);
  }

  test('a parameter', async () => {
    const socket = await connect();
    await bounded(async () => {
      const answer = answers(socket);
      socket.write(parse('', 'SELECT length($1::text)'));
      const head = Buffer.alloc(5 + 2 + 2 + 2 + 4);
      head.write('B');
      head.writeInt32BE(head.length - 1 + SIZE + 2, 1);
      head.writeInt16BE(1, 9);
      head.writeInt32BE(SIZE, 11);
      socket.write(head);
      await sendChunks(socket, SIZE);
      socket.write(Buffer.concat([Buffer.alloc(2), encode.execute(''), encode.SYNC]));
      const { small } = await answer;
      assert.ok(
        small.some((each) => each.endsWith(String(SIZE))),
        JSON.stringify(small),
      );
    });
    socket.destroy();
  });

  test('a row, also to a client that reads slowly', async () => {
    const socket = await connect();
    await bounded(async () => {
      const answer = answers(socket);
      socket.write(encode.query(`SELECT repeat('x', ${SIZE})`));
      for (let i = 0; i < 20; i++) {
        await once(socket, 'data');
        socket.pause();
        await new Promise((resolve) => setTimeout(resolve, 5));
        socket.resume();
      }
      const { bytes } = await answer;
      assert.equal(bytes.get('D'), SIZE + 11);
    });
    socket.destroy();
  });

  test('a statement', async () => {
    const socket = await connect();
    await bounded(async () => {
      const answer = answers(socket);
      const before = Buffer.from("SELECT length('");
      const behind = Buffer.from("')\0");
      const size = SIZE / 4;
      const head = Buffer.alloc(5);
      head.write('Q');
      head.writeInt32BE(4 + before.length + size + behind.length, 1);
      socket.write(Buffer.concat([head, before]));
      await sendChunks(socket, size);
      socket.write(behind);
      const { small } = await answer;
      assert.ok(
        small.some((each) => each.endsWith(String(size))),
        JSON.stringify(small),
      );
    });
    socket.destroy();
  });

  test('COPY in one message, in and out', async () => {
    const socket = await connect();
    await bounded(async () => {
      const answer = answers(socket);
      socket.write(encode.query('COPY big FROM STDIN'));
      const head = Buffer.alloc(5);
      head.write('d');
      head.writeInt32BE(4 + SIZE + 1, 1);
      socket.write(head);
      await sendChunks(socket, SIZE);
      socket.write(Buffer.from('\n'));
      socket.write(Buffer.from([0x63, 0, 0, 0, 4]));
      assert.ok((await answer).small.includes('CCOPY 1\0'));
      socket.removeAllListeners('data');
      const out = answers(socket);
      socket.write(encode.query('COPY big TO STDOUT'));
      assert.equal((await out).bytes.get('d'), SIZE + 6);
    });
    socket.destroy();
  });

  test('a client that vanishes in the middle of one leaves no server in an unknown state', async () => {
    for (const text of ['COPY big FROM STDIN', null]) {
      const socket = await connect();
      const head = Buffer.alloc(5);
      head.write(text === null ? 'Q' : 'd');
      head.writeInt32BE(SIZE, 1);
      if (text !== null) socket.write(encode.query(text));
      socket.write(head);
      await sendChunks(socket, 4 * MB);
      socket.destroy();
    }
    const active =
      "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app' AND (state <> 'idle' OR wait_event = 'ClientRead' AND query LIKE 'COPY%')";
    for (let i = 0; (await cluster.sql('node1', active)) !== '0'; i++) {
      assert.ok(i < 200, 'a server still waits for a client that is gone');
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    const next = await connect();
    const answer = answers(next);
    next.write(encode.query('SELECT 1'));
    assert.deepEqual((await answer).small.at(-1), 'ZI');
    next.destroy();
  });
});
