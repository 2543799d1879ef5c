import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import { test } from 'node:test';
import { LeaseholdError } from '../../common/errors.ts';
import { pickPort, portMessage, requireFree, whyNotFree } from './ports.ts';

test('a port in use is named, with its owner and the option that changes it', async () => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  try {
    assert.equal(await whyNotFree(port), 'EADDRINUSE');
    await assert.rejects(requireFree(port, 'PostgreSQL clients of proxy1', '--proxy-port'), (error) => {
      assert.ok(error instanceof LeaseholdError);
      assert.equal(error.code, 'PORT');
      assert.match(error.message, new RegExp(`port ${port} .*in use.*--proxy-port \\d+`));
      if (process.platform === 'linux') assert.match(error.message, new RegExp(`by process ${process.pid} \\(`));
      return true;
    });
  } finally {
    server.close();
  }
});

test('the message says what to do for each reason', () => {
  assert.match(
    portMessage(6432, 'x', '--proxy-port', 'EADDRINUSE', null),
    /port 6432 \(x\) is in use: .*--proxy-port \d+$/,
  );
  assert.match(portMessage(80, 'x', '--http-port', 'EACCES', null), /port 80 .*not for this user: .*--http-port/);
});

test('a remembered port is kept while it is free and not given twice', async () => {
  const taken = new Set<number>();
  const port = await pickPort(undefined, taken);
  assert.ok(port >= 12_000 && port < 32_768);
  assert.notEqual(await pickPort(port, taken), port);
  assert.equal(await pickPort(port, new Set()), port);
});
