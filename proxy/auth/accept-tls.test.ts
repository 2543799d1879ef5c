import assert from 'node:assert/strict';
import { createHash, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { connect as connectTls, type ConnectionOptions, createSecureContext, type TLSSocket } from 'node:tls';
import { type Authority, createAuthority, withoutOpenssl } from '../../test/support/certificates.ts';
import * as decode from '../wire/decode.ts';
import * as encode from '../wire/encode.ts';
import * as encodeAuth from '../wire/encode-auth.ts';
import { acceptClient, type AcceptOptions } from './accept.ts';
import { HandshakeReader } from './handshake.ts';
import { DEFAULT_POLICY } from './policy.ts';
import { createScramClient, keysOfPassword } from './scram.ts';
import type { AcceptOutcome } from './types.ts';

const salt = Buffer.from('0123456789abcdef');
const keys = await keysOfPassword('secret', salt, 1);

describe('accepting a client over TLS', { skip: withoutOpenssl }, () => {
  let server: Server;
  let port = 0;
  let outcome: Promise<AcceptOutcome>;
  let ca: Authority;
  let more: Partial<AcceptOptions> = {};
  const stop = new AbortController();

  before(async () => {
    ca = createAuthority();
    const own = ca.issue('localhost', ['IP:127.0.0.1']);
    const secureContext = createSecureContext({ cert: own.cert, key: own.key, ca: ca.cert });
    const binding = createHash('sha256').update(new X509Certificate(own.cert).raw).digest();
    server = createServer((socket) => {
      outcome = acceptClient(socket, {
        verifiers: {
          lookup: async () => ({ iterations: 1, salt, ...keys }),
          role: async () => ({ canLogin: true, memberOf: new Set(['app']) }),
          close: async () => {},
        },
        tls: { secureContext, binding, asksForCertificate: true },
        tlsRequired: false,
        timeoutMs: 2000,
        signal: stop.signal,
        ...more,
      });
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    port = (server.address() as { port: number }).port;
  });
  after(() => {
    server.close();
    ca.remove();
  });

  async function plain(first: Buffer): Promise<Socket> {
    const socket = connect(port, '127.0.0.1');
    socket.on('error', () => {});
    socket.write(first);
    return socket;
  }

  async function overTls(options: ConnectionOptions = {}): Promise<TLSSocket> {
    const socket = await plain(encode.SSL_REQUEST);
    assert.equal(((await once(socket, 'data')) as [Buffer])[0].toString(), 'S');
    return secured({ socket, ...options });
  }

  async function secured(options: ConnectionOptions): Promise<TLSSocket> {
    const secure = connectTls({ port, host: '127.0.0.1', ca: ca.cert, ...options });
    secure.on('error', () => {});
    await once(secure, 'secureConnect');
    return secure;
  }

  /** The mechanisms that are offered, then the error after this first message, or null. */
  async function sasl(socket: TLSSocket, mechanism: string, first: string): Promise<[readonly string[], string]> {
    const reader = new HandshakeReader(socket, stop.signal);
    socket.write(encode.startupMessage([['user', 'app']]));
    const { buffer, start, end } = await reader.message(65_535);
    const request = decode.decodeAuthentication(buffer, start, end);
    assert.ok(request.kind === 'sasl');
    socket.write(encodeAuth.saslInitialResponse(mechanism, first));
    const answer = await reader.message(65_535);
    socket.destroy();
    if (answer.type !== 'E') return [request.mechanisms, answer.type];
    const error = decode.decodeErrorFields(answer.buffer, answer.start, answer.end);
    return [request.mechanisms, `${error.sqlState} ${error.message}`];
  }

  test('direct TLS with ALPN is taken, and channel binding logs in', async () => {
    const socket = await secured({ ALPNProtocols: ['postgresql'] });
    const reader = new HandshakeReader(socket, stop.signal);
    socket.write(encode.startupMessage([['user', 'app']], 2));
    await reader.message(65_535);
    const certificate = socket.getPeerX509Certificate();
    assert.ok(certificate !== undefined);
    const channel = createHash('sha256').update(certificate.raw).digest();
    const scram = createScramClient({ kind: 'password', password: 'secret' }, 'nonce', channel);
    socket.write(encodeAuth.saslInitialResponse('SCRAM-SHA-256-PLUS', scram.first()));
    const first = await reader.message(65_535);
    socket.write(encodeAuth.saslResponse(await scram.respond(first.buffer.toString('utf8', first.start + 4))));
    const final = await reader.message(65_535);
    assert.ok(scram.verify(final.buffer.toString('utf8', final.start + 4)));
    const accepted = await outcome;
    assert.ok(accepted.kind === 'client' && accepted.protocolMinor === 2);
    assert.ok('encrypted' in accepted.socket);
    accepted.socket.destroy();
  });

  test('direct TLS without ALPN is closed, and one for another protocol is refused by TLS itself', async () => {
    const socket = await secured({});
    await once(socket, 'close');
    const refused = await outcome;
    assert.ok(refused.kind === 'refused');
    assert.match(refused.reason, /without ALPN protocol negotiation extension/);
    const http = connectTls({ port, host: '127.0.0.1', ca: ca.cert, ALPNProtocols: ['http/1.1'] });
    const [error] = (await once(http, 'error')) as [Error];
    assert.match(error.message, /no application protocol/);
  });

  test('direct TLS where none is offered is closed without an answer', async () => {
    more = { tls: null };
    const socket = connectTls({ port, host: '127.0.0.1', ca: ca.cert, ALPNProtocols: ['postgresql'] });
    await once(socket, 'error');
    more = {};
    assert.deepEqual(await outcome, { kind: 'refused', reason: 'TLS without SSLRequest, but no TLS is offered' });
  });

  test('after SSLRequest ALPN is offered, and not required', async () => {
    const agreed = await overTls({ ALPNProtocols: ['postgresql'] });
    assert.equal(agreed.alpnProtocol, 'postgresql');
    agreed.destroy();
    const none = await overTls();
    assert.equal(none.alpnProtocol, false);
    none.destroy();
  });

  test('a second SSLRequest, inside TLS, is closed without an answer', async () => {
    const socket = await secured({ ALPNProtocols: ['postgresql'] });
    socket.write(encode.SSL_REQUEST);
    socket.resume();
    await once(socket, 'close');
    assert.deepEqual(await outcome, { kind: 'refused', reason: 'repeated encryption request' });
  });

  test('a cancel request is taken over TLS of either kind, and in the clear where TLS is required, as by PostgreSQL', async () => {
    for (const secretKey of [Buffer.from('0123'), Buffer.alloc(32, 7)]) {
      const request = encode.cancelRequest(4711, secretKey);
      const taken = async (): Promise<void> => {
        const heard = await outcome;
        assert.ok(heard?.kind === 'cancel');
        assert.deepEqual([heard.processId, heard.secretKey], [4711, secretKey]);
        heard.close();
      };
      (await overTls()).write(request);
      await taken();
      (await secured({ ALPNProtocols: ['postgresql'] })).write(request);
      await taken();
      more = { tlsRequired: true };
      const accepted = once(server, 'connection');
      const socket = await plain(request);
      const closed = once(socket, 'close');
      await accepted;
      await taken();
      socket.resume();
      await closed;
      more = {};
    }
  });

  test('channel binding is offered first, and a client that was made to believe otherwise is refused', async () => {
    const [mechanisms, answer] = await sasl(await overTls(), 'SCRAM-SHA-256', 'y,,n=,r=abc');
    assert.deepEqual(mechanisms, ['SCRAM-SHA-256-PLUS', 'SCRAM-SHA-256']);
    assert.equal(answer, '28000 SCRAM channel binding negotiation error');
    assert.equal((await sasl(await overTls(), 'SCRAM-SHA-256', 'n,,n=,r=abc'))[1], 'R');
  });

  test('over a Unix socket there is no TLS', async () => {
    more = { local: true };
    const socket = await plain(encode.SSL_REQUEST);
    assert.equal(((await once(socket, 'data')) as [Buffer])[0].toString(), 'N');
    socket.destroy();
    more = {};
  });

  /** What a client with this certificate is told, or the user that it was let in as. */
  async function withCertificate(options: ConnectionOptions, rule: object): Promise<string> {
    const base = { method: 'cert', clientCert: 'verify-full', clientName: 'CN', map: null } as const;
    more = { policy: { ...DEFAULT_POLICY, ruleFor: async () => ({ ...base, ...rule }) } };
    const socket = await overTls(options);
    more = {};
    const reader = new HandshakeReader(socket, stop.signal);
    socket.write(encode.startupMessage([['user', 'app']]));
    const { type, buffer, start, end } = await reader.message(65_535);
    socket.destroy();
    if (type === 'E') return decode.decodeErrorFields(buffer, start, end).message;
    const accepted = await outcome;
    return accepted.kind === 'client' ? `${accepted.user} by ${accepted.credentials.kind}` : accepted.kind;
  }

  test('a client certificate that names the user logs it in; others do not', async () => {
    const mine = ca.issue('app');
    const foreign = createAuthority();
    assert.equal(await withCertificate(mine, {}), 'app by none');
    assert.match(await withCertificate(ca.issue('other'), {}), /^certificate authentication failed for user "app"$/);
    assert.equal(await withCertificate({}, {}), 'connection requires a valid client certificate');
    assert.equal(await withCertificate(foreign.issue('app'), {}), 'the client certificate is not valid');
    assert.equal(await withCertificate(mine, { clientName: 'DN' }), 'certificate authentication failed for user "app"');
    assert.equal(await withCertificate(ca.issue('other'), { method: 'trust', clientCert: 'verify-ca' }), 'app by none');
    foreign.remove();
  });
});
