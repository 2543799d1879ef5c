import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, describe, test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import * as encode from '../../proxy/wire/encode.ts';
import {
  connectPlain,
  countAnswers,
  header,
  sendChunks,
  sendCopy,
  sendParameter,
  sendStatement,
} from '../support/large-messages.ts';
import { ProxyCluster } from '../support/proxy-cluster.ts';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

const MB = 1024 * 1024;
/** More than any buffer of the proxy, and enough that a copy of it would be seen. */
const SIZE = 160 * MB;
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

  const connect = () => connectPlain(cluster.port);

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
      const answer = countAnswers(socket);
      await sendParameter(socket, SIZE);
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
      const answer = countAnswers(socket);
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
      const answer = countAnswers(socket);
      const size = SIZE / 4;
      await sendStatement(socket, "SELECT length('", size, "')");
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
      const answer = countAnswers(socket);
      await sendCopy(socket, 'big', SIZE);
      assert.ok((await answer).small.includes('CCOPY 1\0'));
      const out = countAnswers(socket);
      socket.write(encode.query('COPY big TO STDOUT'));
      assert.equal((await out).bytes.get('d'), SIZE + 6);
    });
    socket.destroy();
  });

  test('a client that vanishes in the middle of one leaves no server in an unknown state', async () => {
    for (const text of ['COPY big FROM STDIN', null]) {
      const socket = await connect();
      if (text !== null) socket.write(encode.query(text));
      socket.write(header(text === null ? 'Q' : 'd', SIZE));
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
    const answer = countAnswers(next);
    next.write(encode.query('SELECT 1'));
    assert.deepEqual((await answer).small.at(-1), 'ZI');
    next.destroy();
  });
});
