import type { Logger } from '../../common/logger.ts';

/** A store that fails for less long is not worth a line: the next endpoint may answer. */
const PATIENCE_MS = 1000;
const REPEAT_MS = 30_000;

/** Tells people whether etcd answers: once when it stops, every 30 s while it does not, once when it is back. */
export class Reachability {
  readonly #endpoints: readonly string[];
  readonly #logger: Logger;
  #failingSinceMs: number | null = null;
  #toldAtMs: number | null = null;
  #everReached = false;

  constructor(endpoints: readonly string[], logger: Logger) {
    this.#endpoints = endpoints;
    this.#logger = logger;
  }

  reached(nowMs: number): void {
    if (this.#toldAtMs !== null && this.#failingSinceMs !== null) {
      const outageMs = Math.round(nowMs - this.#failingSinceMs);
      this.#logger.info({ event: 'store.reached', outageMs }, `etcd answers again after ${seconds(outageMs)}`);
    }
    this.#everReached = true;
    this.#failingSinceMs = null;
    this.#toldAtMs = null;
  }

  failed(error: Error, nowMs: number): void {
    this.#failingSinceMs ??= nowMs;
    const patienceMs = this.#everReached ? PATIENCE_MS : 0;
    if (nowMs - this.#failingSinceMs < patienceMs) return;
    if (this.#toldAtMs !== null && nowMs - this.#toldAtMs < REPEAT_MS) return;
    const first = this.#toldAtMs === null;
    this.#toldAtMs = nowMs;
    const since = first ? '' : ` for ${seconds(nowMs - this.#failingSinceMs)} now`;
    this.#logger.warn(
      { event: 'store.unreachable', endpoints: this.#endpoints, reason: error.message },
      `etcd cannot be reached at ${this.#endpoints.join(', ')}${since}; trying on`,
    );
  }
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}
