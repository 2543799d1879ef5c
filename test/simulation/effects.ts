import { assertNever } from '../../common/never.ts';
import type { Effect, Failure, Outcome, PostgresEffect, StoreEffect } from '../../election/core/types.ts';
import type { PeerAddress } from '../../election/postgres/port.ts';
import { ensureSlots, type Followed, lead } from './admission.ts';
import type { Timer } from './scheduler.ts';
import type { SimContext } from './context.ts';
import { checkpoint, clone, controlData, initialise, rewind } from './copies.ts';
import type { SimEtcd, StoreOutcome } from './etcd.ts';
import type { SimNode } from './node.ts';
import type { Done } from './postgres.ts';
import { sampleOf } from './sample.ts';

/** Carries out the effects of one life of an agent on the modelled world, as `election/agent.ts` does on the real one. */
export class Effects {
  readonly #context: SimContext;
  readonly #etcd: SimEtcd;
  readonly #node: SimNode;
  readonly #life: number;
  /** Effects that are under way: their time-out. */
  readonly #running = new Map<number, Timer>();

  constructor(context: SimContext, etcd: SimEtcd, node: SimNode) {
    this.#context = context;
    this.#etcd = etcd;
    this.#node = node;
    this.#life = node.agent.life;
  }

  start(effect: Effect): void {
    const { trace } = this.#context;
    if (isPostgresEffect(effect)) {
      if (effect.type !== 'pg-sample') trace.add(this.#node.name, describe(effect));
      this.#begin(effect.id, effect.timeoutMs);
      return this.#postgres(effect);
    }
    switch (effect.type) {
      case 'log':
        return trace.add(this.#node.name, `* ${effect.event}: ${effect.message}`);
      case 'feed-watchdog':
        return this.#node.watchdog.feed(effect.deadlineMs);
      case 'cancel':
        this.#end(effect.id);
        return;
      case 'finished':
        return;
      case 'save-local': {
        const { local } = effect;
        this.#begin(effect.id, effect.timeoutMs);
        return this.#later(0.5, 6, () => {
          if (this.#node.diskFull) return this.#fail(effect.id, NO_SPACE);
          this.#node.local = local;
          this.#done(effect.id, { type: 'none' });
        });
      }
      case 'grant-lease':
      case 'keep-alive':
      case 'transact':
      case 'revoke-lease':
        return this.#store(effect);
      default:
        return assertNever(effect, 'effect');
    }
  }

  #later(lowMs: number, highMs: number, run: () => void): void {
    const { scheduler, random } = this.#context;
    scheduler.after(random.between(lowMs, highMs), () => this.#node.agent.deliver(this.#life, run));
  }

  #begin(id: number, timeoutMs: number): void {
    const timer = this.#context.scheduler.after(this.#node.trueMs(timeoutMs), () =>
      this.#fail(id, { code: 'TIMEOUT', message: 'took too long', applied: 'unknown' }),
    );
    this.#running.set(id, timer);
  }

  /** True for the first end of an effect. */
  #end(id: number): boolean {
    const timer = this.#running.get(id);
    if (timer === undefined) return false;
    timer.cancel();
    this.#running.delete(id);
    return true;
  }

  #done(id: number, outcome: Outcome): void {
    if (this.#end(id)) this.#node.give({ type: 'effect-done', id, outcome });
  }

  #fail(id: number, failure: Failure): void {
    if (this.#end(id)) this.#node.give({ type: 'effect-failed', id, failure });
  }

  #store(effect: StoreEffect): void {
    const { id } = effect;
    const sentAtMs = this.#node.localMs;
    this.#running.set(id, { cancel: () => {} }); // the request has its own deadline
    const request = <T>(work: Parameters<SimEtcd['request']>[2], outcome: (value: T) => Outcome): void =>
      this.#etcd.request(this.#node.client(), effect.timeoutMs, work, (result) => {
        const { ok } = result as StoreOutcome<T>;
        if (ok) return this.#done(id, outcome((result as { readonly value: T }).value));
        if (!result.ok) this.#fail(id, { code: 'STORE', message: result.error, applied: result.outcome });
      });
    switch (effect.type) {
      case 'grant-lease':
        return request<{ lease: never; ttlMs: number }>(
          (etcd, now) => etcd.grantLease(now, effect.ttlMs),
          (grant) => ({ type: 'lease', ...grant, sentAtMs }),
        );
      case 'keep-alive':
        return request<{ ttlMs: number }>(
          (etcd, now) => etcd.keepAlive(now, effect.lease),
          ({ ttlMs }) => ({ type: 'kept', ttlMs, sentAtMs }),
        );
      case 'transact':
        return request<{ succeeded: boolean; revision: number; gets: [] }>(
          (etcd, now) => etcd.transact(now, effect.transaction),
          (result) => ({ type: 'transaction', ...result, sentAtMs }),
        );
      case 'revoke-lease':
        return request(
          (etcd, now) => etcd.revokeLease(now, effect.lease),
          () => ({ type: 'none' }),
        );
    }
  }

  #postgres(effect: PostgresEffect): void {
    const { id } = effect;
    const { postgres } = this.#node;
    const ended =
      <T>(outcome: (value: T) => Outcome): Done<T> =>
      (result) => {
        if (result.ok) this.#done(id, outcome(result.value));
        else this.#fail(id, { code: 'POSTGRES', message: result.error, applied: 'unknown' });
      };
    const none = ended<void>(() => ({ type: 'none' }));
    switch (effect.type) {
      case 'pg-inspect':
        return this.#inspect(id);
      case 'pg-initialise':
        return initialise(this.#program(), `system-of-${this.#node.name}-${this.#context.random.below(1e6)}`, none);
      case 'pg-clone':
        return clone(this.#program(), this.#context.postgres(effect.from.node), effect.keepAs, none);
      case 'pg-rewind':
        return rewind(this.#program(), this.#context.postgres(effect.from.node), none);
      case 'pg-start':
        if (this.#node.diskFull) return this.#later(20, 100, () => this.#fail(id, NO_SPACE));
        postgres.launch(effect.role, followed(effect.peer), none);
        if (effect.role === 'leader') lead(postgres, this.#term());
        return;
      case 'pg-open':
        return postgres.perform(3, 12, none, () => {
          postgres.setOpen(effect.open);
          return undefined;
        });
      case 'pg-stop':
        return postgres.stop(effect.mode, none);
      case 'pg-kill':
        return postgres.killNow(none);
      case 'pg-follow':
        return postgres.follow(followed(effect.peer), none);
      case 'pg-promote':
        lead(postgres, this.#term());
        return postgres.promote(ended((result) => ({ type: 'promoted', result })));
      case 'pg-set-synchronous':
        return postgres.setSynchronous(effect.names, effect.k, none);
      case 'pg-write-term-row':
        return this.#termRow(Number(effect.term), none);
      case 'pg-ensure-slots':
        return postgres.perform(1, 15, none, () => ensureSlots(postgres, Number(effect.term), effect.nodes));
      case 'pg-checkpoint':
        return checkpoint(postgres, none);
      case 'pg-sample':
        return this.#sample(id);
      default:
        return assertNever(effect, 'effect');
    }
  }

  /** For which the agent says it leads: only the checks are told. */
  #term(): number {
    const mode = this.#node.state?.mode;
    return mode !== undefined && 'lead' in mode ? Number(mode.lead.term) : 0;
  }

  #program(): Parameters<typeof initialise>[0] {
    const { agent, postgres } = this.#node;
    return { context: this.#context, target: postgres, alive: () => agent.alive && agent.life === this.#life };
  }

  /** A server left from an earlier life of the agent is ended first. */
  #inspect(id: number): void {
    const { postgres } = this.#node;
    const read = (): void =>
      this.#later(2, 15, () => {
        const { disk } = postgres;
        if (disk.kind === 'empty') return this.#done(id, { type: 'data', data: { kind: 'empty' } });
        if (disk.kind === 'unfinished') {
          return this.#done(id, { type: 'data', data: { kind: 'unfinished', what: disk.what } });
        }
        const { timeline, checkpointLsn } = controlData(disk);
        this.#done(id, {
          type: 'data',
          data: {
            kind: 'data',
            systemId: disk.systemId,
            timeline,
            cleanShutdown: disk.clean && !postgres.running,
            checkpointLsn: checkpointLsn as never,
            wasFollower: disk.standby,
          },
        });
      });
    if (postgres.running) postgres.killNow(read);
    else read();
  }

  #termRow(term: number, done: Done): void {
    const { postgres } = this.#node;
    if (!postgres.running || !postgres.ready || postgres.recovery) return done({ ok: false, error: 'not a leader' });
    postgres.process.deliver(postgres.process.life, () =>
      postgres.commit('term', term, () => done({ ok: true, value: undefined })),
    );
  }

  #sample(id: number): void {
    const { postgres } = this.#node;
    const none = { type: 'sample', sample: null } as const;
    if (!postgres.process.active || !postgres.ready) {
      return this.#later(1, postgres.running ? 300 : 3, () => this.#done(id, none));
    }
    const life = postgres.process.life;
    const { scheduler, random } = this.#context;
    scheduler.after(random.between(1, 4), () => {
      if (postgres.process.life !== life || !postgres.process.active) return this.#done(id, none);
      const sample = sampleOf(postgres);
      scheduler.after(random.between(0.2, 3), () => this.#done(id, { type: 'sample', sample }));
    });
  }
}

const NO_SPACE = { code: 'ENOSPC', message: 'no space left on device', applied: 'unknown' } as const;

function followed(peer: PeerAddress | null): Followed | null {
  return peer === null ? null : { node: peer.node, term: Number(peer.term) };
}

function isPostgresEffect(effect: Effect): effect is PostgresEffect {
  return effect.type.startsWith('pg-');
}

function describe(effect: PostgresEffect): string {
  const { type } = effect;
  if (type === 'pg-clone' && effect.keepAs !== null) return `${type} from ${effect.from.node}, keeps ${effect.keepAs}`;
  if (type === 'pg-clone' || type === 'pg-rewind') return `${type} from ${effect.from.node}`;
  if (type === 'pg-start') return `${type} ${effect.role} of ${effect.peer?.node ?? 'nobody'}`;
  if (type === 'pg-follow') return `${type} ${effect.peer?.node ?? 'nobody'}`;
  if (type === 'pg-open') return `${type} ${effect.open}`;
  if (type === 'pg-stop') return `${type} ${effect.mode}`;
  if (type === 'pg-set-synchronous') return `${type} ANY ${effect.k} (${effect.names.join(', ')})`;
  if (type === 'pg-write-term-row') return `${type} ${effect.term}`;
  return type;
}
