import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { SCRIPTS } from '../support/protocol-scripts.ts';
import { ProxyCluster } from '../support/proxy-cluster.ts';
import { parse } from '../../proxy/wire/encode.ts';
import { RawClient, type Transcript } from '../support/raw-client.ts';

describe('through the proxy a client hears what it would hear from the server itself', () => {
  let cluster: ProxyCluster;
  before(async () => {
    cluster = await ProxyCluster.start({ followers: 1 });
  });
  after(() => cluster[Symbol.asyncDispose]());

  for (const [name, steps] of Object.entries(SCRIPTS)) {
    test(name, async () => {
      const direct = await play(cluster.node('node1').port, steps);
      const proxied = await play(cluster.port, steps);
      for (const [index, transcript] of direct.entries()) {
        assert.deepEqual(proxied[index], transcript, `step ${index + 1}: ${preview(steps[index]?.send ?? [])}`);
      }
    });
  }

  test('cut into single bytes, messages are understood as well', async () => {
    const steps = SCRIPTS['extended: parse, bind, describe, execute'] ?? [];
    const direct = await play(cluster.node('node1').port, steps);
    assert.deepEqual(await play(cluster.port, steps, 1), direct);
  });
});

describe('a proxy that may buffer little passes long messages on in parts', () => {
  let cluster: ProxyCluster;
  before(async () => {
    cluster = await ProxyCluster.start({ followers: 0, proxy: { maxBufferBytes: 65_536 } });
  });
  after(() => cluster[Symbol.asyncDispose]());

  for (const name of ['long texts, parameters and rows', 'COPY in and out']) {
    test(name, async () => {
      const steps = SCRIPTS[name] ?? [];
      const direct = await play(cluster.node('node1').port, steps);
      assert.deepEqual(await play(cluster.port, steps), direct);
    });
  }

  test('a long text cannot be prepared, and the client is told which setting to raise', async () => {
    await using client = await RawClient.connect({ port: cluster.port });
    client.send(parse('', Buffer.from(`SELECT '${'x'.repeat(100_000)}'`)));
    const [error] = await client.read('E');
    assert.match(error ?? '', /^E\|FATAL\|54000\|.*proxy\.maxBufferBytes/);
  });
});

async function play(port: number, steps: (typeof SCRIPTS)[string], pieceBytes = 0): Promise<Transcript[]> {
  await using client = await RawClient.connect({ port }, [['application_name', 'conformance']]);
  const transcripts: Transcript[] = [];
  for (const { send, until, count } of steps) {
    if (pieceBytes === 0) client.send(...send);
    else {
      const all = Buffer.concat(send);
      for (let at = 0; at < all.length; at += pieceBytes) {
        client.send(all.subarray(at, at + pieceBytes));
        await new Promise((resolve) => setImmediate(resolve));
      }
    }
    try {
      transcripts.push(await client.read(until, count));
    } catch (error) {
      throw new Error(`step ${transcripts.length + 1}: ${preview(send)}`, { cause: error });
    }
  }
  return transcripts;
}

function preview(messages: readonly Buffer[]): string {
  return messages.map((each) => JSON.stringify(each.toString('latin1').slice(0, 60))).join(' ');
}
