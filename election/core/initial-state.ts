import type { AgentState } from './state.ts';
import type { CoreConfig, LocalState } from './types.ts';

/** A node at its start. `local` is what its disk holds of earlier lives. */
export function initialState(config: CoreConfig, local: LocalState): AgentState {
  return {
    config,
    mode: { kind: 'INIT', killed: false },
    nowMs: 0,
    random: 0,
    wallTime: '',
    local,
    savingLocal: null,
    view: null,
    leaderGoneSinceMs: null,
    leaderWithoutLease: null,
    ownRevision: 0,
    server: {
      data: null,
      running: false,
      sample: null,
      sampledAtMs: Number.NEGATIVE_INFINITY,
      askedAtMs: Number.NEGATIVE_INFINITY,
      diedStarting: false,
      open: false,
      idleSinceMs: null,
    },
    memberLease: null,
    published: null,
    slots: null,
    slotsRetryAtMs: Number.NEGATIVE_INFINITY,
    memberRetryAtMs: Number.NEGATIVE_INFINITY,
    lease: null,
    attempt: null,
    pending: {},
    nextId: 1,
    retryAtMs: Number.NEGATIVE_INFINITY,
    failures: 0,
    stopping: false,
    resignedAtMs: null,
    consent: null,
    leaderSeen: null,
    asked: null,
    hadLeader: false,
    copiedFrom: null,
    rewoundFor: null,
    note: null,
  };
}
