/** After a failed connection attempt, nobody tries again for so long: the callers go elsewhere or wait. */
const RETRY_PAUSE_MS = 50;

/** The last connection attempt of a pool, if it failed. */
export class LastFailure {
  reason: unknown = null;
  #atMs = -Infinity;

  note(reason: unknown, nowMs: number): void {
    this.reason = reason;
    this.#atMs = nowMs;
  }

  /** It says nothing about the next one. */
  forget(): void {
    this.#atMs = -Infinity;
  }

  isRecent(nowMs: number): boolean {
    return nowMs - this.#atMs < RETRY_PAUSE_MS;
  }
}
