import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';

/** `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>` of pg_authid. */
export interface ScramVerifier {
  readonly iterations: number;
  readonly salt: Buffer;
  readonly storedKey: Buffer;
  readonly serverKey: Buffer;
}

/** What logs the same user in to a server: recovered from the client's own proof (DESIGN.md, "Who logs in"). */
export interface ScramKeys {
  readonly kind: 'scram-keys';
  readonly clientKey: Buffer;
  readonly verifier: ScramVerifier;
}

/** The proxy's own service role. */
export interface PasswordCredentials {
  readonly kind: 'password';
  readonly password: string;
}

export type Credentials = ScramKeys | PasswordCredentials;

/** Verifiers from the leader (else any follower: they are replicated), cached for a bounded time and number. */
export interface VerifierSource {
  /** Null: no such role, it may not log in, or it has no SCRAM verifier. `fresh` goes past the cache. Throws ClientError 08006-class when no server can be asked. */
  lookup(
    user: string,
    options: { readonly fresh: boolean; readonly signal: AbortSignal },
  ): Promise<{ readonly verifier: ScramVerifier } | null>;
}

/** A client after start-up and authentication; AuthenticationOk has been sent, ParameterStatus and later messages have not. */
export interface AcceptedClient {
  readonly kind: 'client';
  /** Paused; bytes that were read beyond the authentication have been put back with `unshift`. */
  readonly socket: Socket | TLSSocket;
  readonly user: string;
  readonly database: string;
  /** Start-up parameters but user and database, names in lower case as sent; `options` already split into settings by the caller of `parseStartupOptions`. */
  readonly parameters: ReadonlyMap<string, string>;
  readonly replication: 'off' | 'physical' | 'database';
  readonly credentials: Credentials;
  readonly protocolMinor: 0 | 2;
}

/** A CancelRequest; the connection has been closed already. */
export interface CancelRequest {
  readonly kind: 'cancel';
  readonly processId: number;
  readonly secretKey: Buffer;
}

/** The client went away or was refused; an ErrorResponse was sent where the protocol allows it, and the socket is closed. */
export interface RefusedClient {
  readonly kind: 'refused';
  readonly reason: string;
}

export type AcceptOutcome = AcceptedClient | CancelRequest | RefusedClient;

/** A server connection that has reached its first ReadyForQuery. The socket is paused, with no listeners of ours. */
export interface BackendLogin {
  readonly socket: Socket | TLSSocket;
  readonly processId: number;
  readonly secretKey: Buffer;
  readonly parameters: ReadonlyMap<string, string>;
}

export interface BackendTarget {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly database: string;
  readonly credentials: Credentials;
  /** Start-up parameters for the server, e.g. application_name. */
  readonly parameters: ReadonlyMap<string, string>;
  readonly tls: { readonly mode: 'disable' | 'require' | 'verify-full'; readonly ca?: Buffer };
  readonly replication?: 'physical' | 'database';
}
