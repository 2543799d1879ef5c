import type { Socket } from 'node:net';
import type { SecureContext, TLSSocket } from 'node:tls';

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

/** The proxy's own service role, or one that the configuration names. */
export interface PasswordCredentials {
  readonly kind: 'password';
  readonly password: string;
}

/** `md5` and 32 hexadecimal digits, of pg_authid: with it a server's method md5 is answered. */
export interface Md5Hash {
  readonly kind: 'md5-hash';
  readonly hash: string;
}

/** The client proved nothing that a server could ask for. */
export interface NoProof {
  readonly kind: 'none';
  /** How it was let in: `trust`, `cert`. */
  readonly method: string;
}

/** What a SCRAM exchange can be done with. */
export type ProofCredentials = ScramKeys | PasswordCredentials;
export type Credentials = ProofCredentials | Md5Hash | NoProof;

/** What pg_authid says of a role that may log in. */
export interface RoleFacts {
  readonly canLogin: boolean;
  /** Itself and every role that it is a member of, directly or not. */
  readonly memberOf: ReadonlySet<string>;
}

/** Verifiers from the leader (else any follower: they are replicated); the last ones read serve while no server answers. */
export interface VerifierSource {
  /**
   * Null: no such role, it may not log in, or it has no password. Throws ClientError 57P03 (FATAL) when no
   * server can be asked and nothing recent is known of the user.
   */
  lookup(user: string, signal: AbortSignal): Promise<ScramVerifier | Md5Hash | null>;
  /** Null: no such role. Throws as `lookup`. */
  role(user: string, signal: AbortSignal): Promise<RoleFacts | null>;
  close(): Promise<void>;
}

export interface DefaultsSource {
  /** Of this user. Throws as `VerifierSource.lookup`. */
  defaults(user: string, signal: AbortSignal): Promise<RoleDefaults>;
}

/** What ALTER ROLE and ALTER DATABASE have SET. */
export interface RoleDefaults {
  /** A follower may not know the newest ones. */
  readonly fromLeader: boolean;
  /** The more specific ones last. `database` null: in every one. `settings`: `name=value`. */
  readonly rows: readonly { readonly database: string | null; readonly settings: readonly string[] }[];
}

/** A client after start-up and authentication; AuthenticationOk has been sent, ParameterStatus and later messages have not. */
export interface AcceptedClient {
  readonly kind: 'client';
  /**
   * Paused; bytes that were read beyond the authentication have been put back with `unshift`. The only listener
   * left ignores `error`; the new owner should look at `destroyed` first, since the client may be gone already.
   */
  readonly socket: Socket | TLSSocket;
  readonly user: string;
  readonly database: string;
  /** Start-up parameters but user, database, replication and `_pq_.` ones; `options` as sent (see `parseStartupOptions`). */
  readonly parameters: ReadonlyMap<string, string>;
  readonly replication: 'off' | 'physical' | 'database';
  readonly credentials: Credentials;
  readonly protocolMinor: 0 | 2;
}

/** A CancelRequest. Its connection stays open until it has been carried out: by that the client knows. */
export interface CancelRequest {
  readonly kind: 'cancel';
  readonly processId: number;
  readonly secretKey: Buffer;
  readonly close: () => void;
}

/** The client went away or was refused; an ErrorResponse was sent where the protocol allows it, and the socket is closed. */
export interface RefusedClient {
  readonly kind: 'refused';
  readonly reason: string;
}

export type AcceptOutcome = AcceptedClient | CancelRequest | RefusedClient;

/**
 * A server connection that has reached its first ReadyForQuery. The socket is paused, with no listeners of ours but
 * one that ignores `error` (`close` follows it), so that a reset before the new owner listens cannot end the process.
 */
export interface BackendLogin {
  readonly socket: Socket | TLSSocket;
  readonly processId: number;
  readonly secretKey: Buffer;
  readonly parameters: ReadonlyMap<string, string>;
  /** Of protocol 3, as the server wants it. */
  readonly protocolMinor: number;
}

/** How servers are spoken to; the modes are libpq's. */
export interface BackendTls {
  readonly mode: 'disable' | 'allow' | 'prefer' | 'require' | 'verify-ca' | 'verify-full';
  /** Authorities, the proxy's own certificate, versions. Absent: Node's defaults. */
  readonly secureContext?: SecureContext | undefined;
  /** Of what the context was made of: equal ones need no new connections. */
  readonly fingerprint?: string | undefined;
  /** As libpq's channel_binding; `prefer` when absent. */
  readonly channelBinding?: 'disable' | 'prefer' | 'require';
}

export interface BackendTarget {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly database: string;
  readonly credentials: Credentials;
  /** Start-up parameters for the server, e.g. application_name. */
  readonly parameters: ReadonlyMap<string, string>;
  readonly tls: BackendTls;
  readonly replication?: 'physical' | 'database';
}
