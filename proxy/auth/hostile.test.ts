import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer, type Server } from 'node:net';
import { after, before, describe, test } from 'node:test';
import fc from 'fast-check';
import { type Authority, createAuthority, withoutOpenssl } from '../../test/support/certificates.ts';
import { proxyConfig } from '../../common/config/schema.ts';
import { clientTls } from '../server/tls.ts';
import * as encode from '../wire/encode.ts';
import * as encodeAuth from '../wire/encode-auth.ts';
import { acceptClient } from './accept.ts';
import type { ClientTls } from './connection.ts';
import type { AcceptOutcome } from './types.ts';

/** A start-up packet of this length word and code. */
function packet(length: number, code: number, body = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(8);
  head.writeInt32BE(length, 0);
  head.writeInt32BE(code, 4);
  return Buffer.concat([head, body]);
}

/** A message with a type byte and a length of its own choice. */
function message(type: string, length: number, body = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(5);
  head.write(type);
  head.writeInt32BE(length, 1);
  return Buffer.concat([head, body]);
}

const STARTUP = encode.startupMessage([['user', 'app']], 2);

describe('what strangers send', { skip: withoutOpenssl }, () => {
  let server: Server;
  let port = 0;
  let tls: ClientTls | null = null;
  const outcomes: Promise<AcceptOutcome>[] = [];
  const stop = new AbortController();
  let ca: Authority;
  const lookup = Promise.withResolvers<void>();

  /** A server takes its time to tell about one of the users. */
  async function asked(user: string, signal: AbortSignal): Promise<null> {
    if (user !== 'slow') return null;
    lookup.resolve();
    await once(signal, 'abort');
    throw signal.reason;
  }

  before(async () => {
    ca = createAuthority();
    const own = ca.issue('localhost');
    tls = clientTls(proxyConfig.parse({ tls: { certFile: own.certFile, keyFile: own.keyFile } }));
    server = createServer((socket) => {
      const verifiers = { lookup: asked, role: async () => null, close: async () => {} };
      outcomes.push(acceptClient(socket, { verifiers, tls, tlsRequired: false, timeoutMs: 2000, signal: stop.signal }));
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    port = (server.address() as { port: number }).port;
  });
  after(() => {
    server.close();
    ca.remove();
  });

  /** How the connection of a client that sends this and closes its side ends. */
  async function sent(...pieces: readonly Buffer[]): Promise<AcceptOutcome> {
    const count = outcomes.length;
    const socket = connect(port, '127.0.0.1');
    socket.on('error', () => {});
    socket.resume();
    for (const piece of pieces) socket.write(piece);
    socket.end();
    while (outcomes.length === count) await new Promise((resolve) => setImmediate(resolve));
    const outcome = await (outcomes[count] as Promise<AcceptOutcome>);
    if (outcome.kind === 'cancel') outcome.close();
    socket.destroy();
    return outcome;
  }

  const cases: readonly (readonly [name: string, bytes: Buffer, reason: RegExp])[] = [
    ['nothing', Buffer.alloc(0), /closed the connection/],
    ['half a length', Buffer.from([0, 0]), /closed the connection/],
    ['half a packet', STARTUP.subarray(0, 12), /closed the connection/],
    ['a length of two gigabytes', packet(0x7fffffff, 196608), /invalid length of startup packet/],
    ['a negative length', packet(-1, 196608), /invalid length of startup packet/],
    ['a length of nothing', packet(0, 196608), /invalid length of startup packet/],
    ['parameters without an end', packet(14, 196608, Buffer.from('user\0a')), /invalid string in message|terminator/],
    [
      'a cancel key that is too short',
      packet(13, 80877102, Buffer.from([0, 0, 0, 1, 7])),
      /invalid length of cancel key/,
    ],
    ['half a TLS handshake', Buffer.from([0x16, 3, 1, 2, 0, 1, 0]), /closed the connection/],
    ['TLS that is none', Buffer.concat([Buffer.from([0x16]), Buffer.alloc(600, 0xff)]), /closed the connection/],
    ['bytes behind SSLRequest', Buffer.concat([encode.SSL_REQUEST, STARTUP]), /unencrypted data after SSL request/],
    ['a message of a gigabyte', Buffer.concat([STARTUP, message('p', 1 << 30)]), /invalid message length/],
    ['a message shorter than its length', Buffer.concat([STARTUP, message('p', 3)]), /invalid message length/],
    [
      'a mechanism that we have not',
      Buffer.concat([STARTUP, encodeAuth.saslInitialResponse('PLAIN', 'x')]),
      /invalid SASL/,
    ],
    ['SCRAM that is none', Buffer.concat([STARTUP, encodeAuth.saslInitialResponse('SCRAM-SHA-256', 'x')]), /malformed/],
  ];
  for (const [name, bytes, reason] of cases) {
    test(`${name}: the connection is refused`, async () => {
      const outcome = await sent(bytes);
      assert.ok(outcome.kind === 'refused');
      assert.match(outcome.reason, reason);
    });
  }

  test('random bytes, and legal ones with a few changed, never do more than end their own connection', async () => {
    const legal = Buffer.concat([STARTUP, encodeAuth.saslInitialResponse('SCRAM-SHA-256', 'n,,n=,r=abc')]);
    const changed = fc
      .array(fc.tuple(fc.nat(legal.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 })
      .map((changes) => {
        const bytes = Buffer.from(legal);
        for (const [at, value] of changes) bytes[at] = value;
        return bytes;
      });
    const random = fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes));
    await fc.assert(
      fc.asyncProperty(fc.oneof(changed, random), async (bytes) => {
        const outcome = await sent(bytes);
        assert.notEqual(outcome.kind, 'client');
      }),
      { numRuns: 200 },
    );
  });

  test('a client that sends without end while it waits for its log-in is not read', async () => {
    const socket = connect(port, '127.0.0.1');
    socket.on('error', () => {});
    socket.write(encode.startupMessage([['user', 'slow']]));
    await lookup.promise;
    const connection = outcomes.at(-1);
    for (let sentBytes = 0; sentBytes < 64 << 20; sentBytes += 1 << 20) socket.write(Buffer.alloc(1 << 20, 0x70));
    await new Promise((resolve) => setTimeout(resolve, 200));
    assert.ok(socket.writableLength > 32 << 20, `only ${socket.writableLength} bytes wait at the client`);
    socket.destroy();
    assert.equal((await connection)?.kind, 'refused');
  });
});
