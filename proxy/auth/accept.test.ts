import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { Client } from 'pg';
import { ClientError } from '../../common/errors.ts';
import * as decode from '../wire/decode.ts';
import * as encode from '../wire/encode.ts';
import * as encodeAuth from '../wire/encode-auth.ts';
import { acceptClient } from './accept.ts';
import { keysOfPassword } from './scram.ts';
import type { AcceptOutcome, VerifierSource } from './types.ts';

const salt = Buffer.from('0123456789abcdef');
const keys = await keysOfPassword('secret', salt, 4096);
const verifiers: VerifierSource = {
  lookup: async (user) => {
    if (user === 'lost') throw new ClientError({ sqlState: '57P03', severity: 'FATAL', message: 'nobody to ask' });
    return user === 'app' ? { iterations: 4096, salt, ...keys } : null;
  },
  role: async () => null,
  close: async () => {},
};

describe('accepting a client', () => {
  let server: Server;
  let port = 0;
  let outcome: Promise<AcceptOutcome>;
  /** Ample: a log-in takes some time on a machine that does other things as well. */
  let timeoutMs = 10_000;
  const stop = new AbortController();

  before(async () => {
    server = createServer((socket) => {
      outcome = acceptClient(socket, { verifiers, tls: null, tlsRequired: false, timeoutMs, signal: stop.signal });
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    port = (server.address() as { port: number }).port;
  });
  after(() => server.close());

  /** Everything that the server says until it closes, after these bytes were sent. */
  async function say(...packets: readonly Buffer[]): Promise<Buffer> {
    const socket = connect(port, '127.0.0.1');
    for (const packet of packets) socket.write(packet);
    return readAll(socket);
  }

  function errorOf(answer: Buffer): decode.ErrorFields {
    assert.equal(String.fromCharCode(answer[0] as number), 'E');
    return decode.decodeErrorFields(answer, 5, answer.length);
  }

  test('a client that logs in is handed over paused, with what it sent ahead put back', async () => {
    const client = new Client({ host: '127.0.0.1', port, user: 'app', password: 'secret', database: 'shop' });
    client.on('error', () => {});
    const connecting = client.connect().catch(() => {});
    await once(server, 'connection');
    const accepted = await outcome;
    assert.ok(accepted.kind === 'client');
    assert.deepEqual([accepted.user, accepted.database, accepted.replication], ['app', 'shop', 'off']);
    assert.deepEqual(accepted.credentials.kind === 'scram-keys' && accepted.credentials.clientKey, keys.clientKey);
    assert.equal(accepted.parameters.has('user'), false);
    assert.equal(accepted.socket.isPaused(), true);
    for (const event of ['data', 'readable', 'end']) {
      assert.equal(
        accepted.socket.listeners(event).filter((l) => !l.name.startsWith('onReadableStreamEnd')).length,
        0,
        event,
      );
    }
    accepted.socket.destroy();
    await connecting;
  });

  test('a query sent together with the last message of the authentication is not lost', async () => {
    const { createScramClient } = await import('./scram.ts');
    const scram = createScramClient({ kind: 'password', password: 'secret' }, 'nonce');
    const socket = connect(port, '127.0.0.1');
    socket.write(encode.startupMessage([['user', 'app']]));
    await once(socket, 'data');
    socket.write(encodeAuth.saslInitialResponse('SCRAM-SHA-256', scram.first()));
    const [first] = (await once(socket, 'data')) as [Buffer];
    socket.write(
      Buffer.concat([
        encodeAuth.saslResponse(await scram.respond(first.toString('utf8', 9))),
        encode.query('select 1'),
      ]),
    );
    const accepted = await outcome;
    assert.ok(accepted.kind === 'client');
    assert.equal(accepted.database, 'app', 'the database is the user’s name by default');
    // Long enough for a listener that was left behind to eat the bytes.
    await new Promise((resolve) => setImmediate(resolve));
    const chunk = once(accepted.socket, 'data');
    accepted.socket.resume();
    assert.deepEqual((await chunk)[0], encode.query('select 1'));
    accepted.socket.destroy();
    socket.destroy();
  });

  test('a cancel request is handed on, and its connection stays open until it was carried out', async () => {
    const socket = connect(port, '127.0.0.1');
    socket.write(encode.cancelRequest(42, Buffer.from([1, 2, 3, 4])));
    await once(server, 'connection');
    const request = await outcome;
    assert.ok(request.kind === 'cancel');
    assert.deepEqual([request.processId, request.secretKey], [42, Buffer.from([1, 2, 3, 4])]);
    assert.equal(socket.readableEnded, false);
    request.close();
    const answer = await readAll(socket);
    assert.equal(answer.length, 0);
  });

  test('encryption is declined, and the start-up goes on in the clear', async () => {
    const gss = Buffer.from(encode.SSL_REQUEST);
    gss.writeInt32BE(80877104, 4);
    const answer = await say(encode.SSL_REQUEST, gss, encode.startupMessage([]));
    assert.equal(answer.toString('latin1', 0, 2), 'NN');
    assert.equal(errorOf(answer.subarray(2)).sqlState, '28000');
  });

  test('a second SSLRequest is no start-up: closed without an answer', async () => {
    const answer = await say(encode.SSL_REQUEST, encode.SSL_REQUEST);
    assert.equal(answer.toString('latin1'), 'N');
  });

  const versions: readonly (readonly [name: string, asked: number, options: string[], negotiated: number | null])[] = [
    ['3.0', 0, [], null],
    ['3.0 with an unknown option', 0, ['_pq_.new'], 0],
    ['3.1, which never was', 1, [], null],
    ['3.2', 2, [], null],
    ['3.2 with two unknown options', 2, ['_pq_.new', '_pq_.newer'], 2],
    ['3.3', 3, [], 2],
    ['3.9999 with an option that tests us', 9999, ['_pq_.test_protocol_negotiation'], 2],
  ];
  for (const [name, asked, options, negotiated] of versions) {
    test(`protocol ${name} is ${negotiated === null ? 'spoken' : `answered with 3.${negotiated}`}`, async () => {
      const parameters = [['user', 'lost'] as const, ...options.map((option) => [option, 'x'] as const)];
      const answer = await say(encode.startupMessage(parameters, asked));
      const negotiation = negotiated === null ? Buffer.alloc(0) : encode.negotiateProtocolVersion(negotiated, options);
      assert.deepEqual(answer.subarray(0, negotiation.length), negotiation);
      assert.equal(errorOf(answer.subarray(negotiation.length)).sqlState, '57P03');
    });
  }

  const refused: readonly (readonly [name: string, packet: Buffer, sqlState: string])[] = [
    ['protocol 2', Buffer.from([0, 0, 0, 8, 0, 2, 0, 0]), '0A000'],
    ['protocol 4', Buffer.from([0, 0, 0, 8, 0, 4, 0, 0]), '0A000'],
    ['no user', encode.startupMessage([['database', 'x']]), '28000'],
    [
      'a senseless replication mode',
      encode.startupMessage([
        ['user', 'app'],
        ['replication', 'maybe'],
      ]),
      '22023',
    ],
    ['a user whose verifier nobody can tell', encode.startupMessage([['user', 'lost']]), '57P03'],
  ];
  for (const [name, packet, sqlState] of refused) {
    test(`${name}: ${sqlState}`, async () => {
      const error = errorOf(await say(packet));
      assert.deepEqual([error.severity, error.sqlState], ['FATAL', sqlState]);
      assert.equal((await outcome).kind, 'refused');
    });
  }

  test('what is not PostgreSQL’s protocol is closed without an answer', async () => {
    assert.equal((await say(Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n'))).length, 0);
    assert.deepEqual(await outcome, { kind: 'refused', reason: 'invalid length of startup packet' });
  });

  test('a message that is no SASL response ends the authentication', async () => {
    const socket = connect(port, '127.0.0.1');
    socket.write(encode.startupMessage([['user', 'app']]));
    socket.write(encode.query('select 1'));
    const answer = await readAll(socket);
    const sasl = encodeAuth.authenticationSasl(['SCRAM-SHA-256']);
    assert.deepEqual(answer.subarray(0, sasl.length), sasl);
    assert.equal(errorOf(answer.subarray(sasl.length)).sqlState, '08P01');
  });

  test('a client that sends nothing, or a byte now and then, is cut off at the time limit', async () => {
    timeoutMs = 300;
    const socket = connect(port, '127.0.0.1');
    const startup = encode.startupMessage([['user', 'app']]);
    let sent = 0;
    const drip = setInterval(() => socket.write(startup.subarray(sent, ++sent)), 50);
    const answer = await readAll(socket);
    clearInterval(drip);
    timeoutMs = 10_000;
    assert.equal(answer.length, 0);
    assert.deepEqual(await outcome, { kind: 'refused', reason: 'start-up and authentication took too long' });
  });

  test('a client that goes away is refused without noise', async () => {
    const socket = connect(port, '127.0.0.1');
    socket.write(Buffer.from([0, 0]));
    await once(server, 'connection');
    socket.resetAndDestroy();
    const refusal = await outcome;
    assert.ok(refusal.kind === 'refused');
    assert.match(refusal.reason, /the client closed the connection/);
  });
});

async function readAll(socket: Socket): Promise<Buffer> {
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  socket.on('error', () => {});
  await once(socket, 'close');
  return Buffer.concat(chunks);
}
