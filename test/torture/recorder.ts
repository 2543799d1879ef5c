import type { Operation, ReadOperation, WriteOperation } from './history.ts';

const MAX_TEXTS = 5;

/** All that clients did, and counts of it as it goes on. */
export class Recorder {
  readonly operations: Operation[] = [];
  /** When a write was acknowledged, in order. */
  readonly acknowledgedMs: number[] = [];
  readonly sqlStates = new Map<string, number>();
  /** What was said with each SQLSTATE, the first few times. */
  readonly errorTexts = new Map<string, Set<string>>();
  readonly counts = { acknowledged: 0, refused: 0, unknown: 0, reads: 0, readErrors: 0, connections: 0, moves: 0 };
  /** By server. */
  readonly readsServed = new Map<string, number>();
  readonly faults: string[] = [];
  readonly #lastByProxy = new Map<string, number>();
  #value = 0;

  /** One that nobody has written yet. */
  nextValue(): number {
    return ++this.#value;
  }

  write(operation: WriteOperation): void {
    this.operations.push(operation);
    this.counts[operation.verdict] += 1;
    this.#count(operation.sqlState);
    if (operation.verdict !== 'acknowledged') return;
    this.acknowledgedMs.push(operation.endMs);
    this.#lastByProxy.set(operation.proxy, operation.endMs);
  }

  read(operation: ReadOperation): void {
    this.operations.push(operation);
    this.counts.reads += 1;
    if (operation.server !== '')
      this.readsServed.set(operation.server, (this.readsServed.get(operation.server) ?? 0) + 1);
  }

  readFailed(sqlState: string): void {
    this.counts.readErrors += 1;
    this.#count(sqlState);
  }

  /** Everything that clients are told with an error. */
  said(sqlState: string, text: string): void {
    const texts = this.errorTexts.get(sqlState) ?? new Set();
    this.errorTexts.set(sqlState, texts);
    if (texts.size < MAX_TEXTS) texts.add(text);
  }

  /** Something that no client should ever meet, whatever the nemesis does. */
  fault(text: string): void {
    if (this.faults.length < 100) this.faults.push(text);
  }

  /** When the proxy last passed an acknowledgement on to a client that had asked through it. */
  lastAcknowledged(proxy: string): number {
    return this.#lastByProxy.get(proxy) ?? 0;
  }

  #count(sqlState: string | null): void {
    if (sqlState !== null) this.sqlStates.set(sqlState, (this.sqlStates.get(sqlState) ?? 0) + 1);
  }
}
