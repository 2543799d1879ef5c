import type { Socket } from 'node:net';
import { type SecureContext, TLSSocket } from 'node:tls';
import { ClientError } from '../../common/errors.ts';
import { type Subject, subjectOf } from './certificate.ts';
import { HandshakeReader, socketEvent } from './handshake.ts';

/** What the proxy is to its clients over TLS. */
export interface ClientTls {
  readonly secureContext: SecureContext;
  /** The data of `tls-server-end-point`; null where its certificate allows no channel binding. */
  readonly binding: Buffer | null;
  /** Clients are asked for a certificate, which the authorities of the context must have signed. */
  readonly asksForCertificate: boolean;
}

/** A client's certificate. */
export type ClientCertificate =
  | { readonly kind: 'none' }
  | { readonly kind: 'valid'; readonly subject: Subject }
  | { readonly kind: 'invalid'; readonly reason: string };

/** What carries a client that is logging in: the socket, then the TLS one over it. */
export class Connection {
  socket: Socket | TLSSocket;
  reader: HandshakeReader;
  /** Null: in the clear. */
  tls: ClientTls | null = null;
  certificate: ClientCertificate = { kind: 'none' };
  readonly #signal: AbortSignal;

  constructor(socket: Socket, signal: AbortSignal) {
    this.socket = socket;
    this.reader = new HandshakeReader(socket, signal);
    this.#signal = signal;
  }

  /** After SSLRequest: says yes and goes on over TLS. Bytes sent before would be read as if they had come through TLS (CVE-2021-23214). */
  async answerSslRequest(tls: ClientTls): Promise<void> {
    if (this.reader.buffered > 0) {
      throw new ClientError({
        sqlState: '08P01',
        severity: 'FATAL',
        message: 'received unencrypted data after SSL request',
        detail: 'This could be either a client-software bug or evidence of an attempted man-in-the-middle attack.',
      });
    }
    this.reader.release();
    this.socket.write('S');
    await this.startTls(tls);
  }

  /** What was read of the TLS handshake already is put back by the reader. Returns the protocol that ALPN agreed on. */
  async startTls(tls: ClientTls): Promise<string | false | null> {
    this.reader.release();
    const secure = new TLSSocket(this.socket, {
      isServer: true,
      secureContext: tls.secureContext,
      requestCert: tls.asksForCertificate,
      // Looked at when the start-up packet is known, so that the client is told what is wrong.
      rejectUnauthorized: false,
      ALPNProtocols: ['postgresql'],
    });
    this.socket = secure;
    this.reader = new HandshakeReader(secure, this.#signal);
    await socketEvent(secure, 'secure', this.#signal);
    this.tls = tls;
    this.certificate = certificateOf(secure);
    return secure.alpnProtocol;
  }
}

function certificateOf(socket: TLSSocket): ClientCertificate {
  const certificate = socket.getPeerX509Certificate();
  if (certificate === undefined) return { kind: 'none' };
  // Node tells the result of the verification only to sockets of its own servers; without an answer nobody is trusted.
  const handle = (socket as unknown as { _handle?: { verifyError?: () => NodeJS.ErrnoException | null } })._handle;
  if (handle?.verifyError === undefined) return { kind: 'invalid', reason: 'it cannot be verified' };
  const fault = handle.verifyError();
  if (fault !== null) return { kind: 'invalid', reason: `${fault.code}: ${fault.message.split(';')[0]}` };
  try {
    return { kind: 'valid', subject: subjectOf(certificate.raw) };
  } catch {
    return { kind: 'invalid', reason: 'its subject cannot be read' };
  }
}
