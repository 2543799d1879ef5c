import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { SCRIPTS } from '../support/protocol-scripts.ts';
import { ProxyCluster } from '../support/proxy-cluster.ts';
import { parse } from '../../proxy/wire/encode.ts';
import { playScript, preview } from '../support/play-script.ts';
import { RawClient } from '../support/raw-client.ts';

describe('through the proxy a client hears what it would hear from the server itself', () => {
  let cluster: ProxyCluster;
  before(async () => {
    cluster = await ProxyCluster.start({ followers: 1 });
  });
  after(() => cluster[Symbol.asyncDispose]());

  for (const [name, steps] of Object.entries(SCRIPTS)) {
    test(name, async () => {
      const direct = await playScript(cluster.node('node1').port, steps);
      const proxied = await playScript(cluster.port, steps);
      for (const [index, transcript] of direct.entries()) {
        assert.deepEqual(proxied[index], transcript, `step ${index + 1}: ${preview(steps[index]?.send ?? [])}`);
      }
    });
  }

  test('cut into single bytes, messages are understood as well', async () => {
    const steps = SCRIPTS['extended: parse, bind, describe, execute'] ?? [];
    const direct = await playScript(cluster.node('node1').port, steps);
    assert.deepEqual(await playScript(cluster.port, steps, 1), direct);
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
      const direct = await playScript(cluster.node('node1').port, steps);
      assert.deepEqual(await playScript(cluster.port, steps), direct);
    });
  }

  test('a long text cannot be prepared, and the client is told which setting to raise', async () => {
    await using client = await RawClient.connect({ port: cluster.port });
    client.send(parse('', Buffer.from(`SELECT '${'x'.repeat(100_000)}'`)));
    const [error] = await client.read('E');
    assert.match(error ?? '', /^E\|FATAL\|54000\|.*proxy\.maxBufferBytes/);
  });
});
