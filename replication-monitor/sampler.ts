import type { ConnectionOptions } from 'node:tls';
import type { Clock } from '../common/clock.ts';
import type { ServiceConfig } from '../common/config/schema.ts';
import { type Lsn, NO_LSN, NO_TERM } from '../common/lsn.ts';
import type { Logger } from '../common/logger.ts';
import {
  type FreshnessState,
  initialFreshness,
  lagsBehind,
  recordLoss,
  recordSample,
  recordSilence,
  retarget,
  snapshotOf,
} from './freshness.ts';
import { NodeSampler } from './node-sampler.ts';
import type { FreshnessSnapshot, MonitorTargets, ProbeSample, ReplicationMonitor } from './types.ts';

export interface ReplicationMonitorOptions {
  /** The clock by which sessions remember when they were told of a commit. */
  readonly clock: Clock;
  readonly credentials: ServiceConfig;
  /** Between samples of a node while nobody waits; 100 by default. */
  readonly intervalMs?: number;
  readonly logger: Logger;
  readonly tls?: ConnectionOptions;
}

/** Samples nothing until it has targets. The caller closes it. */
export function createReplicationMonitor(options: ReplicationMonitorOptions): ReplicationMonitor {
  return new SamplingMonitor(options);
}

/** How long a wake-up makes followers be asked in short steps, if they do not catch up before. */
const FAST_FOR_MS = 100;
/** When the leader is asked again while a follower has not reached what is wanted, to see whether it was flushed at all. */
const FLUSH_CHECK_MS = 10;
/** Between questions to the leader while it does not show what followers do. */
const SETTLE_STEPS_MS = [2, 2, 3, 4, 6, 8, 10];
const FOLLOWER_STEPS_MS = [2, 2, 3, 4, 6, 8, 10];

interface Sampled {
  readonly sampler: NodeSampler;
  readonly host: string;
  readonly port: number;
  /** Short steps taken since the last wake-up. */
  steps: number;
}

class SamplingMonitor implements ReplicationMonitor {
  readonly #options: ReplicationMonitorOptions;
  readonly #intervalMs: number;
  readonly #listeners = new Set<(snapshot: FreshnessSnapshot) => void>();
  readonly #samplers = new Map<string, Sampled>();
  readonly #closing = new Set<Promise<void>>();
  #state: FreshnessState = initialFreshness({ term: NO_TERM, leader: null, nodes: [] });
  #snapshot: FreshnessSnapshot;
  /** Answers to requests sent before the targets changed say nothing of the new term. */
  #targetsSinceMs = Number.NEGATIVE_INFINITY;
  #wokenAtMs = Number.NEGATIVE_INFINITY;
  /** How many wait until what a follower (null: any) shows is settled, and the steps taken since the last of them came. */
  readonly #toSettle = new Map<string | null, number>();
  #settleSteps = 0;
  #leaderAskedAtMs = Number.NEGATIVE_INFINITY;
  /** The leader's newest position that somebody may wait for. */
  #wantedLsn: Lsn = NO_LSN;
  /** A position that the leader had not flushed when it was seen first, and when that was. */
  #unflushedLsn: Lsn = NO_LSN;
  #unflushedSinceMs = 0;
  #closed = false;

  constructor(options: ReplicationMonitorOptions) {
    this.#options = options;
    this.#intervalMs = options.intervalMs ?? 100;
    this.#snapshot = snapshotOf(this.#state, options.clock.nowMs());
  }

  get snapshot(): FreshnessSnapshot {
    return this.#snapshot;
  }

  setTargets(targets: MonitorTargets): void {
    if (this.#closed) return;
    const changedTerm = targets.term !== this.#state.targets.term || targets.leader !== this.#state.targets.leader;
    this.#state = retarget(this.#state, targets);
    if (changedTerm) {
      this.#targetsSinceMs = this.#options.clock.nowMs();
      this.#wantedLsn = NO_LSN;
      this.#unflushedLsn = NO_LSN;
    }
    const wanted = new Map(targets.nodes.map((target) => [target.node, target]));
    for (const [node, sampled] of this.#samplers) {
      const target = wanted.get(node);
      if (target?.host === sampled.host && target.port === sampled.port) wanted.delete(node);
      else this.#drop(node, sampled);
    }
    for (const target of wanted.values()) this.#samplers.set(target.node, this.#startSampler(target));
    this.#publish();
    if (changedTerm) this.wake();
  }

  wake(): void {
    if (this.#closed) return;
    // Followers are asked when the leader's next answer shows that they are behind it.
    this.#wokenAtMs = this.#options.clock.nowMs();
    const { leader } = this.#state.targets;
    if (leader !== null) this.#samplers.get(leader)?.sampler.wake();
  }

  settle(node: string | null): () => void {
    this.#toSettle.set(node, (this.#toSettle.get(node) ?? 0) + 1);
    this.#settleSteps = 0;
    const { leader } = this.#state.targets;
    if (leader !== null) this.#samplers.get(leader)?.sampler.wake();
    return () => {
      const others = (this.#toSettle.get(node) ?? 1) - 1;
      if (others === 0) this.#toSettle.delete(node);
      else this.#toSettle.set(node, others);
    };
  }

  subscribe(listener: (snapshot: FreshnessSnapshot) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#listeners.clear();
    for (const [node, sampled] of this.#samplers) this.#drop(node, sampled);
    await Promise.all(this.#closing);
  }

  #startSampler(target: MonitorTargets['nodes'][number]): Sampled {
    const { clock, credentials, logger, tls } = this.#options;
    const { node, host, port } = target;
    const record = (next: (state: FreshnessState) => FreshnessState) => {
      if (this.#samplers.get(node) !== sampled) return;
      this.#state = next(this.#state);
      this.#publish();
    };
    const sampler = new NodeSampler(
      {
        node,
        host,
        port,
        tls,
        clock,
        logger,
        user: credentials.user,
        password: credentials.password,
        silentAfterMs: Math.max(500, this.#intervalMs * 5),
      },
      {
        onSample: (sample) => {
          if (sample.sentAtMs < this.#targetsSinceMs) return;
          record((state) => recordSample(state, node, sample));
          if (node === this.#state.targets.leader) this.#onLeaderAnswer(sample);
        },
        onSilence: (reason) => record((state) => recordSilence(state, node, reason)),
        onLoss: (reason, reachable) =>
          record((state) => recordLoss(state, node, reason, reachable ? null : clock.nowMs())),
        running: () => (node === this.#state.targets.leader ? null : this.#state.settled.running),
        wantsFlush: (sample) => this.#wantsFlush(node, sample),
        nextDelayMs: () => this.#nextDelayMs(node, sampled),
      },
    );
    const sampled: Sampled = { sampler, host, port, steps: 0 };
    return sampled;
  }

  /** Asks the followers that have not reached this answer, if anybody waits. It serves all who came before it was asked for. */
  #onLeaderAnswer(sample: ProbeSample): void {
    this.#leaderAskedAtMs = sample.sentAtMs;
    const newest = this.#state.marks.at(-1);
    if (newest === undefined) return;
    if (sample.flushedLsn >= this.#unflushedLsn) {
      this.#unflushedLsn = newest.lsn;
      this.#unflushedSinceMs = sample.answeredAtMs;
    }
    if (this.#toSettle.size > 0) {
      for (const [node, { sampler }] of this.#samplers) {
        if (node !== this.#state.targets.leader && this.#isToSettle(node)) sampler.wake();
      }
    }
    if (!this.#isHurried()) return;
    this.#wantedLsn = newest.lsn;
    for (const [node, sampled] of this.#samplers) {
      sampled.steps = 0;
      if (lagsBehind(this.#state, node, newest.lsn)) sampled.sampler.wake();
    }
  }

  #isHurried(): boolean {
    return this.#options.clock.nowMs() - this.#wokenAtMs <= FAST_FOR_MS;
  }

  #isToSettle(node: string): boolean {
    return this.#toSettle.has(node) || this.#toSettle.has(null);
  }

  #nextDelayMs(node: string, sampled: Sampled): number {
    const delayMs = this.#freshDelayMs(node, sampled);
    if (this.#toSettle.size === 0 || node !== this.#state.targets.leader) return delayMs;
    const step = SETTLE_STEPS_MS[Math.min(this.#settleSteps++, SETTLE_STEPS_MS.length - 1)] ?? delayMs;
    return Math.min(step, delayMs);
  }

  #freshDelayMs(node: string, sampled: Sampled): number {
    if (!this.#isHurried()) return this.#intervalMs;
    if (node === this.#state.targets.leader) {
      if (this.#leaderAskedAtMs < this.#wokenAtMs) return 0;
      return this.#isStreamAhead() ? FLUSH_CHECK_MS : this.#intervalMs;
    }
    if (!lagsBehind(this.#state, node, this.#wantedLsn)) return this.#intervalMs;
    return FOLLOWER_STEPS_MS[Math.min(sampled.steps++, FOLLOWER_STEPS_MS.length - 1)] ?? this.#intervalMs;
  }

  /** Whether a streaming follower has not reached what is wanted. */
  #isStreamAhead(): boolean {
    return this.#state.targets.nodes.some(
      ({ node }) =>
        this.#state.nodes.get(node)?.sample?.streaming === true && lagsBehind(this.#state, node, this.#wantedLsn),
    );
  }

  /**
   * Only while somebody waits for what has stayed unflushed, which followers cannot reach; and not at once, since on
   * a busy leader the next commit flushes.
   */
  #wantsFlush(node: string, sample: ProbeSample): boolean {
    if (node !== this.#state.targets.leader || sample.inRecovery || !this.#isHurried()) return false;
    if (sample.flushedLsn >= this.#unflushedLsn) return false;
    return sample.answeredAtMs - this.#unflushedSinceMs >= FLUSH_CHECK_MS / 2 && this.#isStreamAhead();
  }

  #drop(node: string, sampled: Sampled): void {
    this.#samplers.delete(node);
    const closing = sampled.sampler.close();
    this.#closing.add(closing);
    void closing.finally(() => this.#closing.delete(closing));
  }

  #publish(): void {
    this.#snapshot = snapshotOf(this.#state, this.#options.clock.nowMs());
    for (const listener of this.#listeners) listener(this.#snapshot);
  }
}
