/**
 * How long a session has been in its state, seen from outside: a sweep compares two counters with what they were, so that the path of
 * a query has no timer and no look at a clock for it. What is measured is too short by a sweep's period at most, never too long.
 */
export class Watch {
  /** Grows with each message that begins or continues a unit of work. */
  turn = 0;
  /** The turn in which the open transaction began. */
  transaction = 0;
  #state: Activity | null = null;
  #seenTurn = -1;
  #sinceMs = 0;
  #seenTransaction = -1;
  #transactionSinceMs = 0;

  /** A message came; `outside`: no transaction is open, and one that begins begins with it. */
  onMessage(outside: boolean): void {
    this.turn += 1;
    if (outside) this.transaction = this.turn;
  }

  /** Called by the sweep. `inTransaction` includes a statement that runs by itself. */
  look(state: Activity, inTransaction: boolean, nowMs: number): void {
    if (state !== this.#state || this.turn !== this.#seenTurn) {
      this.#state = state;
      this.#seenTurn = this.turn;
      this.#sinceMs = nowMs;
    }
    const transaction = inTransaction ? this.transaction : -1;
    if (transaction === this.#seenTransaction) return;
    this.#seenTransaction = transaction;
    this.#transactionSinceMs = nowMs;
  }

  /** For how long it has been in the state that was seen last. */
  stateMs(nowMs: number): number {
    return nowMs - this.#sinceMs;
  }

  transactionMs(nowMs: number): number {
    return this.#seenTransaction < 0 ? 0 : nowMs - this.#transactionSinceMs;
  }
}

/** `running`: a server works for it, or takes its data. `waiting`: for a server. `idle`: the client's turn. */
export type Activity = 'running' | 'waiting' | 'idle';
