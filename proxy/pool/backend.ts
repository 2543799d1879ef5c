import type { BackendLogin } from '../auth/types.ts';
import type { SettingsImage } from '../routing/settings-image.ts';
import { onChunks, refuses, sendAllTo, writeTo } from '../net/direct-socket.ts';
import { decodeErrorFields, type ErrorFields } from '../wire/decode.ts';
import { TERMINATE } from '../wire/encode.ts';
import { FrameReader, type FrameSink, gatherLimits } from '../wire/frames.ts';
import { ERROR, NOTICE, PARAMETER_STATUS, READY } from '../wire/message-types.ts';
import { BackendParameters } from './backend-parameters.ts';
import { BackendStatements } from './backend-statements.ts';
import { sendCancelRequest } from './cancel.ts';
import type { BackendPlace } from './place.ts';
import { Relay } from './relay.ts';

/** Whoever uses a backend now. Called from its socket's events; must not throw. */
export interface BackendUser {
  onBackendMessage(type: number, buffer: Buffer, start: number, end: number): void;
  onBackendPart(type: number, buffer: Buffer, start: number, end: number, first: boolean, last: boolean): void;
  /** All of a received chunk was reported. */
  onBackendChunkEnd(): void;
  /** After `write` returned false: the socket took everything. */
  onBackendDrain(): void;
  /** The connection is gone, and was not closed by its user. Nothing follows. */
  onBackendLost(loss: BackendLoss): void;
}

export interface BackendLoss {
  /** In words, for a message to the client: `node1 closed the connection`. */
  readonly reason: string;
  /** The FATAL that the server sent before it closed, where it did. */
  readonly fatal: ErrorFields | null;
}

/** What a backend is to its pool. */
export interface BackendOwner {
  /** The first request after everything was answered, and the first byte of its answer. */
  onBackendAsked(backend: Backend): void;
  onBackendAnswered(backend: Backend): void;
  /** It ended by itself: `onBackendClosed` follows. */
  onBackendLost(backend: Backend): void;
  /** It is of no use any more. */
  onBackendClosed(backend: Backend): void;
  /** Its socket is closed: the server has let go of it, or did not in time. */
  onBackendGone(backend: Backend): void;
}

/** How long a server may take to close a connection that it was asked to close. */
const LINGER_MS = 1_000;
const LIMITS = gatherLimits('123ACEGHIKNRSZWncstv', 1 << 20, 'TDdV');

/**
 * One server connection after its log-in. It owns the socket: users write through it and get messages from it.
 * Between users it looks after itself: whatever the server says then ends it, but for notices and parameters.
 */
export class Backend implements FrameSink {
  readonly place: BackendPlace;
  readonly processId: number;
  readonly secretKey: Buffer;
  readonly createdAtMs: number;
  readonly statements = new BackendStatements();
  idleSinceMs: number;
  checkedAtMs: number; // when the pool last saw that it still answers
  /** Closed when it is free at or after this moment. */
  retireAtMs = Infinity;
  resting = false; // in its pool, unused
  /** When its pool noted that it was asked something; 0 once it answers. */
  askedAtMs = 0;
  /** It lives for this share of the lifetime that is set, so that those opened together do not all end at once. */
  lifeShare = 1;
  /** What was SET on it; null: not known, to be reset before the next use. */
  settings: SettingsImage | null;
  doubtedBy: unknown = null; // who may have set there what nobody saw; reset before anybody else uses it
  /** It has state of a session that no SET takes away (a lock, a held cursor): nobody else may have it. */
  soiled = false;
  /** Whose unnamed statement it has, and which of theirs. */
  unnamedOwner: unknown = null;
  /** Cancel requests on their way; it must not go to another user before they arrived. */
  cancelsUnderway = 0;
  /** Called when the last of them has arrived. */
  afterCancels: (() => void) | null = null;
  readonly encrypted: boolean;
  readonly #socket: BackendLogin['socket'];
  readonly #owner: BackendOwner;
  readonly #parameters: BackendParameters;
  readonly #relay: Relay;
  #reader: FrameReader;
  #user: BackendUser | null = null;
  #fatal: ErrorFields | null = null;
  #closed = false;
  #linger: NodeJS.Timeout | null = null;
  /** What the last ReadyForQuery said; 0 when anything was written since. */
  #status = 0x49;

  constructor(
    login: BackendLogin,
    place: BackendPlace,
    owner: BackendOwner,
    settings: SettingsImage,
    nowMs: number,
    tls: boolean,
  ) {
    this.encrypted = tls;
    this.place = place;
    this.processId = login.processId;
    this.secretKey = login.secretKey;
    this.createdAtMs = nowMs;
    this.idleSinceMs = nowMs;
    this.checkedAtMs = nowMs;
    this.settings = settings;
    this.#socket = login.socket;
    this.#relay = new Relay(login.socket);
    this.#owner = owner;
    this.#parameters = new BackendParameters(login.parameters);
    this.#reader = new FrameReader(this, LIMITS);
    this.#listen();
  }

  get closed(): boolean {
    return this.#closed;
  }

  get user(): BackendUser | null {
    return this.#user;
  }

  get parameters(): ReadonlyMap<string, string> {
    return this.#parameters.values;
  }

  get parametersKey(): string {
    return this.#parameters.key;
  }

  /** Outside a transaction, everything answered: all that it was sent is behind it. Only then may somebody else have it. */
  get isClean(): boolean {
    return !this.#closed && this.#status === 0x49 && !this.#reader.insideMessage;
  }

  /** A part of a message was reported and its end has not come. */
  get insideMessage(): boolean {
    return this.#reader.insideMessage;
  }

  attach(user: BackendUser): void {
    this.#user = user;
  }

  detach(): void {
    this.#user = null;
    this.#socket.resume();
  }

  /** False: pause whoever feeds it until `onBackendDrain`. */
  write(bytes: Buffer): boolean {
    this.#asks();
    return writeTo(this.#socket, bytes);
  }

  /** Messages in one write. False: no byte of them has left this process. */
  writeAll(messages: readonly Buffer[]): boolean {
    this.#asks();
    return sendAllTo(this.#socket, messages) || this.encrypted;
  }

  #asks(): void {
    this.flushRelayed();
    if (this.#status !== 0) this.#owner.onBackendAsked(this);
    this.#status = 0;
  }

  /** See `Relay`. Written with the next `write`, or by `flushRelayed` at the chunk's end. */
  relay(buffer: Buffer, start: number, end: number): void {
    this.#relay.add(buffer, start, end);
  }

  /** False: as `write`. */
  flushRelayed(): boolean {
    return this.#relay.flush();
  }

  /**
   * Nothing that is written leaves this process any more: the kernel has refused it. Over TLS that shows later, since
   * what was written waits there to be encrypted.
   */
  get refuses(): boolean {
    return this.#closed || refuses(this.#socket);
  }

  get bytesRead(): number {
    return this.#socket.bytesRead;
  }

  get needsDrain(): boolean {
    return this.#socket.writableNeedDrain;
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  /** Asks the server to stop what it does on this connection; `done` is called when it was told, or cannot be. */
  sendCancel(done?: () => void): void {
    const { host, port } = this.place;
    this.cancelsUnderway += 1;
    sendCancelRequest({ host, port, tls: this.encrypted ? 'require' : 'off' }, this, () => {
      done?.();
      this.cancelsUnderway -= 1;
      if (this.cancelsUnderway > 0) return;
      const after = this.afterCancels;
      this.afterCancels = null;
      if (!this.#closed) after?.();
    });
  }

  /** Closes at once and tells the user, who did not expect it. */
  lose(reason: string): void {
    const user = this.#user;
    this.#end(0);
    user?.onBackendLost({ reason, fatal: this.#fatal });
  }

  /** Closes in order; the user is told nothing. The server rolls back what was open. */
  destroy(): void {
    this.#end(LINGER_MS);
  }

  #end(lingerMs: number): void {
    if (this.#closed) {
      if (lingerMs === 0) this.#socket.destroy();
      return;
    }
    this.#closed = true;
    this.#user = null;
    if (this.#socket.writable) this.#socket.end(TERMINATE);
    this.#socket.resume(); // to see that the server closes it, which is when it has one connection less
    // A server that hangs must not keep the socket: what was written has had its chance.
    if (lingerMs === 0) setImmediate(() => this.#socket.destroy());
    else this.#linger = setTimeout(() => this.#socket.destroy(), lingerMs).unref();
    this.#owner.onBackendClosed(this);
  }

  onMessage(type: number, buffer: Buffer, start: number, end: number): boolean {
    if (this.#closed) return false;
    if (type === READY) this.#status = buffer[start + 5] as number;
    else if (type === PARAMETER_STATUS) this.#parameters.note(buffer, start, end);
    else if (type === ERROR) this.#onError(buffer, start, end);
    if (this.#user !== null) this.#user.onBackendMessage(type, buffer, start, end);
    else if (type !== PARAMETER_STATUS && type !== NOTICE) this.lose('the server spoke unasked');
    return !this.#closed;
  }

  onPart(type: number, buffer: Buffer, start: number, end: number, first: boolean, last: boolean): boolean {
    if (this.#closed) return false;
    if (this.#user !== null) this.#user.onBackendPart(type, buffer, start, end, first, last);
    else this.lose('the server spoke unasked');
    return !this.#closed;
  }

  #onError(buffer: Buffer, start: number, end: number): void {
    const fields = decodeErrorFields(buffer, start + 5, end);
    if (fields.severity === 'FATAL' || fields.severity === 'PANIC') this.#fatal = fields;
  }

  #listen(): void {
    const socket = this.#socket;
    onChunks(socket, (chunk) => {
      if (this.#closed) return;
      if (this.askedAtMs !== 0) this.#owner.onBackendAnswered(this);
      try {
        this.#reader.push(chunk);
      } catch (error) {
        this.lose(`${this.place.node} sent what is not the protocol: ${String(error)}`);
        return;
      }
      this.#user?.onBackendChunkEnd();
    });
    socket.on('drain', () => this.#user?.onBackendDrain());
    socket.on('error', (error: Error) => this.#onEnd(`connection to ${this.place.node}: ${error.message}`));
    socket.on('end', () => this.#onEnd(this.#closeReason()));
    socket.on('close', () => {
      this.#onEnd(this.#closeReason());
      if (this.#linger !== null) clearTimeout(this.#linger);
      this.#owner.onBackendGone(this);
    });
    socket.resume();
  }

  #onEnd(reason: string): void {
    if (!this.#closed) this.#owner.onBackendLost(this);
    this.lose(reason);
  }

  #closeReason(): string {
    const node = this.place.node;
    return this.#fatal === null ? `${node} closed the connection` : `${node} said: ${this.#fatal.message}`;
  }
}
