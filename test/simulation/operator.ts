import { keysOf } from '../../election/store/keys.ts';
import type { Operation } from '../../election/store/port.ts';
import {
  encodeRecord,
  pauseRecord,
  type SettingsRecord,
  settingsRecord,
  switchoverRecord,
} from '../../election/store/records.ts';
import type { SimContext } from './context.ts';
import type { SimEtcd } from './etcd.ts';
import { CLUSTER } from './node.ts';

const RETRY_MS = 300;

/** What people put into etcd, as the proxies' API does for them. */
export class Operator {
  readonly #context: SimContext;
  readonly #etcd: SimEtcd;
  readonly #keys = keysOf(CLUSTER);
  #requests = 0;

  constructor(context: SimContext, etcd: SimEtcd) {
    this.#context = context;
    this.#etcd = etcd;
  }

  switchover(to: string | null): void {
    const requestedAt = `t${this.#context.scheduler.nowMs.toFixed(0)}`;
    const value = encodeRecord(switchoverRecord, { id: `s${++this.#requests}`, to, requestedAt });
    this.#ask({ type: 'put', key: this.#keys.switchover, value }, () => {});
  }

  pause(): void {
    const value = encodeRecord(pauseRecord, { by: 'operator', reason: null, at: 'now' });
    this.#insist({ type: 'put', key: this.#keys.pause, value });
  }

  resume(): void {
    this.#insist({ type: 'delete', key: this.#keys.pause });
  }

  /** Settings of the whole cluster. */
  settings(settings: SettingsRecord['settings']): void {
    const value = encodeRecord(settingsRecord, { version: ++this.#requests, by: 'operator', at: 'now', settings });
    this.#insist({ type: 'put', key: this.#keys.config, value });
  }

  /** An administrator's hand: the leader's lease is revoked. */
  revokeLease(): void {
    const stored = this.#etcd.state
      .readAll(this.#context.scheduler.nowMs, this.#keys.leader)
      .keys.get(this.#keys.leader);
    const lease = stored?.lease ?? null;
    if (lease === null) return;
    this.#etcd.request(
      this.#client(),
      1000,
      (etcd, now) => etcd.revokeLease(now, lease),
      () => {},
    );
  }

  #client(): Parameters<SimEtcd['request']>[0] {
    return { name: 'operator', deliver: (run) => run(), trueMs: (ms) => ms };
  }

  /** Again until etcd has answered. */
  #insist(operation: Operation): void {
    this.#ask(operation, (ok) => {
      if (!ok) this.#context.scheduler.after(RETRY_MS, () => this.#insist(operation));
    });
  }

  #ask(operation: Operation, done: (ok: boolean) => void): void {
    this.#etcd.request(
      this.#client(),
      1000,
      (etcd, now) => etcd.transact(now, { compare: [], then: [operation] }),
      (answer) => done(answer.ok),
    );
  }
}
