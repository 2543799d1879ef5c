import type { ClusterView } from '../../election/core/cluster-view.ts';
import type { Effect, Input, Step } from '../../election/core/types.ts';
import { keysOf } from '../../election/store/keys.ts';
import { decodeRecord, encodeRecord, type SyncRecord, syncRecord } from '../../election/store/records.ts';
import { CLUSTER } from './node.ts';
import type { Planted } from './world.ts';

export const keys = keysOf(CLUSTER);

/** A bug that is planted, and within how many seeds (from `from` on, by default 1) the simulation must have found it. */
export interface Mutant {
  readonly name: string;
  readonly from?: number;
  readonly seeds: number;
  /** What it must break. */
  readonly breaks: readonly string[];
  readonly planted: Planted;
}

export function effects(change: (effect: Effect) => Effect | null): Planted {
  const step =
    (real: Step): Step =>
    (state, input) => {
      const result = real(state, input);
      return { state: result.state, effects: result.effects.map(change).filter((e) => e !== null) };
    };
  return { step };
}

export function views(change: (view: ClusterView, node: string) => ClusterView): Planted {
  const changed = (input: Input, node: string): Input =>
    input.type === 'cluster' ? { ...input, view: change(input.view, node) } : input;
  return { step: (real) => (state, input) => real(state, changed(input, state.config.node)) };
}

/** The same effect's id, answered as if it had been done, and nothing done. */
export function nothing(effect: Extract<Effect, { readonly timeoutMs: number }>): Effect {
  return { type: 'pg-sample', id: effect.id, timeoutMs: effect.timeoutMs };
}

/** Comparisons of an acquire transaction dropped, by key. */
export function acquireWithout(dropped: (key: string) => boolean): Planted {
  return effects((effect) => {
    if (effect.type !== 'transact') return effect;
    const { transaction } = effect;
    if (!transaction.then.some((o) => o.type === 'put' && o.key === keys.term)) return effect;
    const compare = transaction.compare.filter((c) => !dropped(c.key));
    return { ...effect, transaction: { ...transaction, compare } };
  });
}

/** The WAL receiver goes on, and the sample that the pledge rests on does not show it. */
export function stillReceiving(real: Step): Step {
  const changed = (input: Input): Input => {
    if (input.type !== 'effect-done' || input.outcome.type !== 'sample' || input.outcome.sample === null) return input;
    const receiver = { ...input.outcome.sample.receiver, running: false };
    return { ...input, outcome: { type: 'sample', sample: { ...input.outcome.sample, receiver } } };
  };
  return (state, input) => {
    const result = real(state, changed(input));
    const effects = result.effects.map((e) => (e.type === 'pg-follow' && e.peer === null ? nothing(e) : e));
    return { state: result.state, effects };
  };
}

/** Every durability record that a leader writes, changed: the one of an acquire transaction, or those after it. */
export function records(change: (record: SyncRecord) => SyncRecord, acquiring: boolean): Planted {
  return effects((effect) => {
    if (effect.type !== 'transact') return effect;
    const acquires = effect.transaction.then.some((o) => o.type === 'put' && o.key === keys.term);
    if (acquires !== acquiring) return effect;
    const then = effect.transaction.then.map((operation) => {
      if (operation.type !== 'put' || operation.key !== keys.sync) return operation;
      const record = decodeRecord(syncRecord, operation.value);
      return record === null ? operation : { ...operation, value: encodeRecord(syncRecord, change(record)) };
    });
    return { ...effect, transaction: { ...effect.transaction, then } };
  });
}
