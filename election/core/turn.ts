import { InvariantError } from '../../common/errors.ts';
import { type Keys, keysOf } from '../store/keys.ts';
import type { Operation, Transaction } from '../store/port.ts';
import type { AgentState, Lane, Lead, Mode } from './state.ts';
import type { Effect, Failure, Input, LocalState, Outcome } from './types.ts';

type WithId = Extract<Effect, { readonly timeoutMs: number }>;
type BodyOf<E> = E extends WithId ? Omit<E, 'id' | 'timeoutMs'> : never;
/** An effect without its id and time-out. */
export type EffectBody = BodyOf<WithId>;

/** The answer to an effect that was awaited. */
export interface Answer {
  readonly lane: Lane;
  readonly what: string;
  readonly sinceMs: number;
  readonly outcome: Outcome | null;
  readonly failure: Failure | null;
}

const CHANGES_POSTGRES = new Set(['pg-stop', 'pg-kill', 'pg-start', 'pg-clone', 'pg-rewind', 'pg-initialise']);

/** One step in the making: the draft of the next state, and the effects so far. Lives no longer than the step. */
export class Turn {
  state: AgentState;
  readonly effects: Effect[] = [];
  readonly keys: Keys;

  constructor(state: AgentState, input: Input) {
    const nowMs = Math.max(state.nowMs, input.nowMs);
    this.state = { ...state, nowMs, random: input.random, wallTime: input.wallTime };
    this.keys = keysOf(state.config.cluster);
  }

  get now(): number {
    return this.state.nowMs;
  }

  set(patch: Partial<AgentState>): void {
    this.state = { ...this.state, ...patch };
  }

  setServer(patch: Partial<AgentState['server']>): void {
    this.set({ server: { ...this.state.server, ...patch } });
  }

  go(mode: Mode): void {
    this.set({ mode });
  }

  /** Replaces the lead of a mode that has one. */
  setLead(patch: Partial<Lead>): void {
    const { mode } = this.state;
    if (!('lead' in mode)) throw new InvariantError(`${mode.kind} holds no lease`);
    this.go({ ...mode, lead: { ...mode.lead, ...patch } });
  }

  idle(...lanes: readonly Lane[]): boolean {
    return lanes.every((lane) => this.state.pending[lane] === undefined);
  }

  /** Nothing changes PostgreSQL now, and nothing failed a moment ago. */
  get serverReady(): boolean {
    return this.idle('server', 'kill') && this.now >= this.state.retryAtMs;
  }

  start(lane: Lane, what: string, timeoutMs: number, body: EffectBody): void {
    if (!this.idle(lane)) throw new InvariantError(`lane ${lane} is busy`);
    const id = this.state.nextId;
    this.set({ nextId: id + 1, pending: { ...this.state.pending, [lane]: { id, what, sinceMs: this.now } } });
    // Whoever waits for clients to be let in, or for a sample, waits for those of the server that comes.
    if (CHANGES_POSTGRES.has(body.type)) {
      this.cancel('sample', 'slots');
      this.setServer({ open: false, sample: null, idleSinceMs: null });
    }
    if (body.type === 'pg-start') this.setServer({ diedStarting: false });
    this.effects.push({ ...body, id, timeoutMs } as Effect);
  }

  cancel(...lanes: readonly Lane[]): void {
    for (const lane of lanes) {
      const { [lane]: pending, ...rest } = this.state.pending;
      if (pending === undefined) continue;
      this.set({ pending: rest });
      this.effects.push({ type: 'cancel', id: pending.id });
    }
  }

  /** Whose answer this is; null for one that nobody awaits any more. */
  settle(input: Extract<Input, { type: 'effect-done' | 'effect-failed' }>): Answer | null {
    for (const [lane, pending] of Object.entries(this.state.pending) as [
      Lane,
      { id: number; what: string; sinceMs: number },
    ][]) {
      if (pending.id !== input.id) continue;
      const { [lane]: _, ...rest } = this.state.pending;
      this.set({ pending: rest });
      const outcome = input.type === 'effect-done' ? input.outcome : null;
      const failure = input.type === 'effect-failed' ? input.failure : null;
      return { lane, what: pending.what, sinceMs: pending.sinceMs, outcome, failure };
    }
    return null;
  }

  /** Replaces what the disk keeps; `state.local` follows when it is there. */
  saveLocal(what: string, local: LocalState): void {
    this.set({ savingLocal: local });
    this.start('local', what, 10_000, { type: 'save-local', local });
  }

  transact(lane: Lane, what: string, timeoutMs: number, transaction: Transaction): void {
    this.start(lane, what, timeoutMs, { type: 'transact', transaction });
  }

  /** A write that happens only while this node still holds the leader key. */
  guarded(lane: Lane, what: string, lead: Lead, then: readonly Operation[], timeoutMs = 1000): void {
    const compare = [{ type: 'create-revision', key: this.keys.leader, equals: lead.createRevision }] as const;
    this.transact(lane, what, timeoutMs, { compare, then });
  }

  /**
   * A decision of the leader: guarded, and only while `sync` and `route` are as it knows them, so that a request that
   * was given up and is carried out late cannot undo a later one. If refused, the answer tells what stands.
   */
  decide(what: string, lead: Lead, then: readonly Operation[]): void {
    const { leader, sync, route } = this.keys;
    this.transact('decide', what, 1000, {
      compare: [
        { type: 'create-revision', key: leader, equals: lead.createRevision },
        { type: 'mod-revision', key: sync, equals: lead.syncRevision },
        { type: 'mod-revision', key: route, equals: lead.routeRevision },
      ],
      then,
      otherwise: [leader, sync, route].map((key) => ({ type: 'get', key })),
    });
  }

  log(level: 'info' | 'warn' | 'error', event: string, message: string, fields: LogFields = {}): void {
    this.effects.push({ type: 'log', level, event, message, fields: { node: this.state.config.node, ...fields } });
  }

  /** Waits longer after each failure in a row, at most 5 s. */
  backOff(answer: { readonly what: string; readonly failure: Failure | null }): void {
    const failures = this.state.failures + 1;
    const delayMs = Math.min(5000, 100 * 2 ** Math.min(failures, 6));
    this.set({ failures, retryAtMs: this.now + delayMs });
    const why = answer.failure?.message ?? 'refused';
    this.log('warn', 'effect.failed', `${answer.what} failed, next attempt in ${delayMs} ms: ${why}`, { failures });
  }

  /** The next attempt a little later: whatever fails at once must not fail for ever at once. */
  pause(delayMs: number): void {
    this.set({ retryAtMs: Math.max(this.state.retryAtMs, this.now + delayMs) });
  }

  note(note: string | null): void {
    if (note !== this.state.note) this.set({ note });
  }
}

type LogFields = Readonly<Record<string, string | number | boolean | null>>;
