import type { Message } from './messages.ts';

/**
 * Knows, from what a client sent and what came back, whether an answer is still to come. It follows PostgreSQL's manual
 * (protocol flow), and shares nothing with the proxy's own matching.
 */
export class Expectation {
  readonly #sent: Message[] = [];
  #head = 0;
  /** Messages up to here have a Flush, Sync, Query or function call behind them: the server does not keep their answers back. */
  #flushed = 0;
  #skipping = false;
  #copying = false;
  #broken = false;

  push(message: Message): void {
    this.#sent.push(message);
    if (FLUSHING.has(message.type)) this.#flushed = this.#sent.length;
    this.#advance();
  }

  /** Nothing more comes before the client sends more. */
  get settled(): boolean {
    return this.#copying || this.#head >= this.#flushed;
  }

  /** In the middle of COPY data something else was sent, which ends the connection: what of its end is heard depends on timing. */
  get broken(): boolean {
    return this.#broken;
  }

  /** The server waits for COPY data. */
  get copying(): boolean {
    return this.#copying;
  }

  /** The type of one message of the server; `N`, `A` and `S` answer nothing. */
  onAnswer(type: string): void {
    const message = this.#sent[this.#head];
    if (message === undefined || type === 'N' || type === 'A' || type === 'S') return;
    if (type === 'G') this.#copying = true;
    else if (type === 'E') {
      this.#copying = false;
      if (message.type !== 'query' && message.type !== 'call') {
        this.#skipping = true;
        this.#head += message.type === 'sync' ? 0 : 1;
      }
    } else if (answers(message, type)) this.#head += 1;
    this.#advance();
  }

  /** Passes what the server gives no answer to. */
  #advance(): void {
    if (this.#copying) {
      this.#advanceInCopy();
      return;
    }
    for (; this.#head < this.#sent.length; this.#head += 1) {
      const { type } = this.#sent[this.#head] as Message;
      if (type === 'sync') this.#skipping = false;
      if (type === 'sync' || (!this.#skipping && !SILENT.has(type))) return;
    }
  }

  /** The message that began the COPY stays the head; what follows it up to the end of the data is consumed. */
  #advanceInCopy(): void {
    while (this.#sent.length > this.#head + 1) {
      const [next] = this.#sent.splice(this.#head + 1, 1);
      if (this.#flushed > this.#head + 1) this.#flushed -= 1;
      if (next !== undefined && !IN_COPY.has(next.type)) this.#broken = true;
      if (next?.type === 'copy-done' || next?.type === 'copy-fail') {
        this.#copying = false;
        // What ends a COPY of the extended protocol is told with the next Flush or Sync.
        if (this.#sent[this.#head]?.type === 'execute' && this.#flushed === this.#head + 1) this.#flushed = this.#head;
        return;
      }
    }
  }
}

const FLUSHING: ReadonlySet<string> = new Set(['query', 'call', 'sync', 'flush']);
const IN_COPY: ReadonlySet<string> = new Set(['copy-data', 'copy-done', 'copy-fail', 'flush', 'sync']);
const SILENT: ReadonlySet<string> = new Set(['flush', 'copy-data', 'copy-done', 'copy-fail']);

/** Whether this ends the answer to the message. */
function answers(message: Message, type: string): boolean {
  switch (message.type) {
    case 'query':
    case 'call':
    case 'sync':
      return type === 'Z';
    case 'parse':
      return type === '1';
    case 'bind':
      return type === '2';
    case 'close':
      return type === '3';
    case 'describe':
      return type === 'T' || type === 'n';
    case 'execute':
      return type === 'C' || type === 's' || type === 'I';
    default:
      return false;
  }
}
