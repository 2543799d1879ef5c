import { setTimeout as sleep } from 'node:timers/promises';
import type { ConnectionOptions } from 'node:tls';
import type { Clock } from '../common/clock.ts';
import type { Logger } from '../common/logger.ts';
import { Wakeup } from '../common/wakeup.ts';
import { isAnswer, openProbe, type Probe } from './probe.ts';
import type { Running } from './settled.ts';
import type { ProbeSample } from './types.ts';

/** What a node's loop tells the monitor, and asks it. All are called from the loop, one after the other. */
export interface SamplerEvents {
  onSample(sample: ProbeSample): void;
  /** No answer for `silentAfterMs`; the connection stays. */
  onSilence(reason: string): void;
  /** `reachable`: it refused us itself. */
  onLoss(reason: string, reachable: boolean): void;
  /** What a follower is to be asked about; read when it is asked. */
  running(): Running | null;
  /** Whether the node should be made to flush its WAL before the next sample; asked after each one. */
  wantsFlush(sample: ProbeSample): boolean;
  /** Milliseconds until the next sample is due; asked after each one. A wake-up shortens it. */
  nextDelayMs(): number;
}

export interface SamplerOptions {
  readonly node: string;
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password: string;
  readonly tls: ConnectionOptions | undefined;
  readonly clock: Clock;
  readonly logger: Logger;
  /** After this long without an answer a node counts as silent; after four times as long its connection is given up. */
  readonly silentAfterMs: number;
}

/** However many wake it: one answer serves all who asked before it was asked for. */
const MIN_STEP_MS = 2;
/** As much of it may be used up at once: what one session waits for takes a few questions, one after the other. */
const BURST_MS = 12;
const BACKOFF_MS = [20, 50, 100, 200, 400, 500];

/** Samples one node until closed, in a loop of its own: a node that hangs delays nobody else. */
export class NodeSampler {
  readonly #options: SamplerOptions;
  readonly #events: SamplerEvents;
  readonly #stop = new AbortController();
  readonly #wakeup = new Wakeup();
  readonly #running: Promise<void>;
  #probe: Probe | null = null;
  #failures = 0;
  /** When the next question would be due if each took its step; beyond now by the burst at most. */
  #pacedMs = Number.NEGATIVE_INFINITY;
  #answering = true;

  constructor(options: SamplerOptions, events: SamplerEvents) {
    this.#options = options;
    this.#events = events;
    this.#running = this.#run();
  }

  wake(): void {
    this.#wakeup.wake();
  }

  async close(): Promise<void> {
    this.#stop.abort();
    this.#probe?.close();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      try {
        await this.#sampleOnce();
        this.#failures = 0;
        this.#answering = true;
      } catch (error) {
        if (signal.aborted) break;
        this.#lose((error as Error).message, isAnswer(error));
        const waitMs = BACKOFF_MS[Math.min(this.#failures++, BACKOFF_MS.length - 1)];
        await sleep(waitMs, undefined, { signal }).catch(() => undefined);
        continue;
      }
      await this.#wakeup.wait(this.#events.nextDelayMs(), signal);
      const tooSoonMs = this.#pacedMs - BURST_MS - this.#options.clock.nowMs();
      if (tooSoonMs > 0) await sleep(tooSoonMs, undefined, { signal }).catch(() => undefined);
    }
    this.#probe?.close();
    this.#probe = null;
  }

  async #sampleOnce(): Promise<void> {
    const { silentAfterMs, clock } = this.#options;
    const probe = this.#probe ?? (await this.#open());
    this.#probe = probe;
    this.#pacedMs = Math.max(this.#pacedMs, clock.nowMs()) + MIN_STEP_MS;
    const answer = probe.sample(() => clock.nowMs(), this.#events.running());
    const silence = setTimeout(() => this.#events.onSilence(`has not answered for ${silentAfterMs} ms`), silentAfterMs);
    try {
      const sample = await this.#bounded(answer, silentAfterMs * 4);
      if (this.#stop.signal.aborted) return;
      this.#events.onSample(sample);
      if (this.#events.wantsFlush(sample)) await this.#bounded(probe.flush(), silentAfterMs * 4);
    } finally {
      clearTimeout(silence);
    }
  }

  #open(): Promise<Probe> {
    const { host, port, user, password, tls, silentAfterMs } = this.#options;
    const connectTimeoutMs = Math.max(1000, silentAfterMs * 2);
    let probe: Probe | null = null;
    const opening = openProbe({ host, port, user, password, tls, connectTimeoutMs }, (reason) => {
      // Heard between two samples: tell at once, do not wait for the next one to fail.
      if (probe !== null && this.#probe === probe) this.#lose(reason, false);
    });
    const opened = opening.then((made) => {
      probe = made;
      if (this.#stop.signal.aborted) made.close();
      return made;
    });
    return this.#bounded(opened, connectTimeoutMs * 2);
  }

  #lose(reason: string, reachable: boolean): void {
    const { node, logger } = this.#options;
    if (this.#answering) logger.info({ event: 'monitor.node-lost', node, reason }, `${node} ${reason}`);
    this.#answering = false;
    this.#probe?.close();
    this.#probe = null;
    if (!this.#stop.signal.aborted) this.#events.onLoss(reason, reachable);
  }

  /** The promise, or an error when the time is up or the sampler is closed. */
  #bounded<T>(promise: Promise<T>, ms: number): Promise<T> {
    const { signal } = this.#stop;
    return new Promise<T>((resolve, reject) => {
      const onAbort = () => finish(() => reject(new Error('the monitor was closed')));
      const timer = setTimeout(() => finish(() => reject(new Error(`has not answered for ${ms} ms`))), ms);
      const finish = (settle: () => void) => {
        clearTimeout(timer);
        signal.removeEventListener('abort', onAbort);
        settle();
      };
      signal.addEventListener('abort', onAbort, { once: true });
      promise.then(
        (value) => finish(() => resolve(value)),
        (error: unknown) => finish(() => reject(error instanceof Error ? error : new Error(String(error)))),
      );
      if (signal.aborted) onAbort();
    });
  }
}
