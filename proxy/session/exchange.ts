import type { Classification } from '../sql/types.ts';
import type { Prepared } from './prepared.ts';

/**
 * One message sent to a server (or kept from it) and what answers it.
 *
 * `query`, `call`: answered up to ReadyForQuery. `sync`: by ReadyForQuery. `execute`: up to CommandComplete,
 * EmptyQueryResponse or PortalSuspended. `local`: nothing is sent; `bytes` go to the client when its turn has come.
 * `fail`: what is sent is certain to fail, and `bytes` are the error that the client gets for it, so that the server's
 * transaction is in the state that the client expects.
 */
export interface Entry {
  readonly kind: 'query' | 'call' | 'parse' | 'bind' | 'describe' | 'execute' | 'close' | 'sync' | 'local' | 'fail';
  readonly bytes: Buffer;
  /** Sent for the proxy's own purposes: its answers are not the client's. */
  readonly swallow: boolean;
  /** Parse: the statement made. Bind and Describe: the statement that must be there. Execute: what its PREPARE makes. */
  readonly prepared: Prepared | null;
  /** Parse, Bind, Describe: the client's name for the statement. */
  readonly name: string;
  /** Query and Execute: what runs, where the proxy must follow its effects. */
  readonly tracked: Classification | null;
  /** Takes back what the proxy noted when the message came, if it failed or the server never came to carry it out. */
  readonly undo: (() => void) | null;
}

/** What the owner learns from the answers. */
export interface ExchangeHost {
  /** Statement `index` of `entry` has ended well; the tag is in the message. */
  onStatementDone(entry: Entry, index: number, buffer: Buffer, start: number, end: number): void;
  /** An entry will not be carried out: it failed, or came after one that did. */
  onSkipped(entry: Entry): void;
  onCopyIn(entry: Entry): void;
  /** Bytes for the client of an entry that the proxy answers. */
  onLocal(entry: Entry): void;
}

/** Messages that a client may send ahead of their answers in one unsynced sequence. */
const MAX_UNANSWERED = 2_000;
/** Entries that are answered are forgotten in batches of so many. */
const FORGET_ANSWERED = 256;

/** What to do with a message of the server. */
export type Verdict = 'forward' | 'swallow' | 'error' | 'ready' | 'violation';

/**
 * Matches the answers of one server with what was sent to it, in order, and knows which of them are the client's.
 * https://www.postgresql.org/docs/current/protocol-flow.html
 */
export class Exchange {
  readonly #host: ExchangeHost;
  #queue: Entry[] = [];
  #head = 0;
  #index = 0;
  #skipping = false;
  #copying = false;

  constructor(host: ExchangeHost) {
    this.#host = host;
  }

  /** Nothing is expected any more. */
  get done(): boolean {
    return this.#head >= this.#queue.length;
  }

  /** So much is not answered yet that the client must wait. A Flush must be sent, lest the server keeps its answers. */
  get full(): boolean {
    return this.#queue.length - this.#head >= MAX_UNANSWERED;
  }

  /** Entries that are kept, answered or not. */
  get size(): number {
    return this.#queue.length;
  }

  /** After an error without a Sync behind it: the server ignores everything until one comes. */
  get skipping(): boolean {
    return this.#skipping;
  }

  get copying(): boolean {
    return this.#copying;
  }

  get head(): Entry | undefined {
    return this.#queue[this.#head];
  }

  push(entry: Entry): void {
    if (this.done) {
      this.#queue.length = 0;
      this.#head = 0;
      this.#index = 0;
    }
    if (this.#head >= FORGET_ANSWERED && this.#head * 2 >= this.#queue.length) {
      this.#queue.splice(0, this.#head);
      this.#head = 0;
    }
    this.#queue.push(entry);
    if (entry.kind === 'sync') this.#skipping = false;
  }

  /** What is not answered yet. */
  pending(): readonly Entry[] {
    return this.#queue.slice(this.#head);
  }

  /** Answers what the proxy answers itself, as far as its turn has come. */
  emitLocals(): void {
    let entry = this.#queue[this.#head];
    while (entry !== undefined && entry.kind === 'local') {
      this.#head += 1;
      this.#host.onLocal(entry);
      entry = this.#queue[this.#head];
    }
  }

  /** The client has ended its COPY data. */
  endCopy(): void {
    this.#copying = false;
  }

  reset(): void {
    this.#queue = [];
    this.#head = 0;
    this.#index = 0;
    this.#skipping = false;
    this.#copying = false;
  }

  onAnswer(type: number, buffer: Buffer, start: number, end: number): Verdict {
    const entry = this.#queue[this.#head];
    if (entry === undefined) return 'violation';
    const verdict = entry.swallow ? 'swallow' : 'forward';
    switch (type) {
      case 0x44: // DataRow
      case 0x64: // CopyData
      case 0x63: // CopyDone
      case 0x48: // CopyOutResponse
      case 0x56: // FunctionCallResponse
        return verdict;
      case 0x43: // CommandComplete
      case 0x49: // EmptyQueryResponse
        this.#host.onStatementDone(entry, this.#index, buffer, start, end);
        this.#index += 1;
        return this.#ends(entry, 'execute', verdict);
      case 0x73: // PortalSuspended
        return this.#ends(entry, 'execute', verdict);
      case 0x31: // ParseComplete
        return entry.kind === 'parse' ? this.#ends(entry, 'parse', verdict) : 'violation';
      case 0x32: // BindComplete
        return entry.kind === 'bind' ? this.#ends(entry, 'bind', verdict) : 'violation';
      case 0x33: // CloseComplete
        return entry.kind === 'close' ? this.#ends(entry, 'close', verdict) : 'violation';
      case 0x54: // RowDescription
      case 0x6e: // NoData
        return this.#ends(entry, 'describe', verdict);
      case 0x74: // ParameterDescription
        return verdict;
      case 0x47: // CopyInResponse
        this.#startCopyIn(entry);
        return verdict;
      case 0x45: // ErrorResponse
        this.#copying = false;
        if (entry.kind !== 'query' && entry.kind !== 'call') this.#skipToSync();
        return 'error';
      case 0x5a: // ReadyForQuery
        if (entry.kind !== 'query' && entry.kind !== 'call' && entry.kind !== 'sync') return 'violation';
        this.#shift();
        return 'ready';
      default:
        return 'violation';
    }
  }

  #ends(entry: Entry, kind: Entry['kind'], verdict: Verdict): Verdict {
    if (entry.kind === kind) this.#shift();
    return verdict;
  }

  #shift(): void {
    this.#head += 1;
    this.#index = 0;
  }

  #startCopyIn(entry: Entry): void {
    this.#copying = true;
    // A server that copies in ignores Sync (PostgresMain, "forget about it"): the one sent along gets no answer.
    if (entry.kind === 'execute') this.#queue = this.#queue.slice(0, this.#head + 1);
    this.#host.onCopyIn(entry);
  }

  /** After an error the server ignores messages up to the next Sync. A Query is ignored like any other. */
  #skipToSync(): void {
    for (; this.#head < this.#queue.length; this.#head += 1) {
      const entry = this.#queue[this.#head] as Entry;
      if (entry.kind === 'sync') return;
      this.#host.onSkipped(entry);
    }
    this.#skipping = true;
  }
}
