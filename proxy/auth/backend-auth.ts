import { randomBytes } from 'node:crypto';
import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { ClientError, LeaseholdError } from '../../common/errors.ts';
import type { Authentication } from '../wire/decode.ts';
import * as encodeAuth from '../wire/encode-auth.ts';
import { endPointBinding } from './certificate.ts';
import { md5Hash, md5Response } from './client-methods.ts';
import {
  createScramClient,
  MECHANISM,
  MECHANISM_PLUS,
  OutdatedKeysError,
  type ScramClient,
  ScramError,
} from './scram.ts';
import type { BackendTarget } from './types.ts';

/** One log-in to a server, from its requests to what answers them. */
export class BackendAuth {
  readonly #socket: Socket;
  readonly #target: BackendTarget;
  #scram: ScramClient | null = null;
  #proven = false;
  #bound = false;

  constructor(socket: Socket, target: BackendTarget) {
    this.#socket = socket;
    this.#target = target;
  }

  /**
   * Answers one request; true: the server let the user in. Throws ClientError where a client can be told what to do about
   * it, LeaseholdError `BACKEND_AUTH` where the server is not what it should be.
   */
  async answer(request: Authentication): Promise<boolean> {
    const { credentials, user } = this.#target;
    if (request.kind === 'ok') return this.#letIn();
    if (request.kind === 'sasl' && this.#scram === null && request.mechanisms.includes(MECHANISM)) {
      this.#beginScram(request.mechanisms);
    } else if (request.kind === 'sasl-continue' && this.#scram !== null && !this.#proven) {
      this.#socket.write(encodeAuth.saslResponse(await this.#respond(this.#scram, request.data)));
    } else if (request.kind === 'sasl-final' && this.#scram !== null) {
      this.#proven = this.#scram.verify(request.data);
      if (!this.#proven) throw this.#fault(`does not know the verifier of "${user}"`);
    } else if (request.kind === 'md5' && (credentials.kind === 'md5-hash' || credentials.kind === 'password')) {
      const hash = credentials.kind === 'md5-hash' ? credentials.hash : md5Hash(credentials.password, user);
      this.#requireNoBinding();
      this.#socket.write(encodeAuth.passwordMessage(md5Response(hash, request.salt)));
    } else if (credentials.kind === 'none' && request.kind !== 'other') {
      throw this.#noProof(credentials.method);
    } else {
      throw this.#fault(refusedMethod(user, request));
    }
    return false;
  }

  #letIn(): boolean {
    // Without SCRAM: the server trusts this address. With it: the server must have proven that it knows the verifier.
    if (this.#scram !== null && !this.#proven) throw this.#fault('ended the SCRAM exchange without its own proof');
    if (!this.#bound) this.#requireNoBinding();
    return true;
  }

  #beginScram(mechanisms: readonly string[]): void {
    const { credentials, tls } = this.#target;
    if (credentials.kind === 'none') throw this.#noProof(credentials.method);
    if (credentials.kind === 'md5-hash') {
      throw this.#fault(
        `asks for SCRAM, but the password of "${this.#target.user}" is kept as an md5 hash: set it again with password_encryption = 'scram-sha-256'`,
      );
    }
    const binding = tls.channelBinding === 'disable' ? null : this.#channelData();
    const offered = mechanisms.includes(MECHANISM_PLUS);
    this.#bound = binding !== null && offered;
    if (!this.#bound) this.#requireNoBinding();
    const channel = binding === null ? 'none' : offered ? binding : 'not-offered';
    this.#scram = createScramClient(credentials, randomBytes(18).toString('base64'), channel);
    const mechanism = this.#bound ? MECHANISM_PLUS : MECHANISM;
    this.#socket.write(encodeAuth.saslInitialResponse(mechanism, this.#scram.first()));
  }

  /** Null without TLS, and with a certificate that allows no channel binding. */
  #channelData(): Buffer | null {
    if (!(this.#socket instanceof TLSSocket)) return null;
    const certificate = this.#socket.getPeerX509Certificate();
    return certificate === undefined ? null : endPointBinding(certificate.raw);
  }

  #requireNoBinding(): void {
    if (this.#target.tls.channelBinding !== 'require') return;
    throw this.#fault('does not offer SCRAM with channel binding, but serverTls.channelBinding is require');
  }

  async #respond(scram: ScramClient, serverFirst: string): Promise<string> {
    try {
      return await scram.respond(serverFirst);
    } catch (error) {
      if (error instanceof OutdatedKeysError) {
        throw new ClientError({
          sqlState: '28P01',
          severity: 'FATAL',
          message: `password of user "${this.#target.user}" was changed since this session logged in`,
          hint: 'Connect again with the new password.',
          cause: error,
        });
      }
      if (error instanceof ScramError) throw this.#fault(`spoke SCRAM wrongly: ${error.message}`);
      throw error;
    }
  }

  #noProof(method: string): ClientError {
    const { user, host, port } = this.#target;
    return new ClientError({
      sqlState: '28000',
      severity: 'FATAL',
      message: `no proof of user "${user}" that a server would take`,
      detail: `The proxy let the user in by the method "${method}", and server ${host}:${port} asks for a password.`,
      hint: `Give the role's password in proxy.auth.passwords, let the servers trust the proxy's certificate or address for it, or log in once by SCRAM.`,
    });
  }

  #fault(what: string): LeaseholdError {
    return new LeaseholdError('BACKEND_AUTH', `server ${this.#target.host}:${this.#target.port} ${what}`);
  }
}

function refusedMethod(user: string, request: Authentication): string {
  const method =
    request.kind === 'cleartext'
      ? 'a clear-text password'
      : request.kind === 'md5'
        ? 'MD5'
        : request.kind === 'other'
          ? `method ${request.code}`
          : request.kind;
  return (
    `asks for ${method} to log in user "${user}"; the proxy has a proof for SCRAM-SHA-256 only: ` +
    `let pg_hba.conf say scram-sha-256 and set the password again with password_encryption = 'scram-sha-256'`
  );
}
