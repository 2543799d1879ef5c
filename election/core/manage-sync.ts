import { consents, lacksFollowers, streamingByConsent } from './facts.ts';
import { rulesOf } from './rules.ts';
import type { AgentState, Lead } from './state.ts';
import { ALONE, barrierReached, planSyncChange, sameSet, type SyncSet, wantedSync } from './sync-quorum.ts';
import type { Answer, Turn } from './turn.ts';
import { putSync } from './writes.ts';

/** A follower that does not stream for this long is no longer waited for. */
const PATIENCE_MS = 3000;
/** PostgreSQL's processes read a reloaded setting each in its own time: the barrier is taken when all surely have. */
const SETTLE_MS = 200;
const ROW_PATIENCE_MS = 1500;
const OPENING_MS = 300;

/**
 * Moves the durability record and PostgreSQL towards the followers that there are, one step at a time, in the order
 * of S4. At every moment `keeps(applied, recorded)` holds for what was applied and recorded last, and for what is
 * under way.
 */
export function manageSync(turn: Turn): void {
  const { mode, server } = turn.state;
  if (mode.kind !== 'LEADER_HELD' && mode.kind !== 'LEADER_OPEN') return;
  const { lead } = mode;
  if (server.sample === null || server.sample.inRecovery || !turn.idle('sync', 'decide', 'kill')) return;
  if (turn.now < turn.state.retryAtMs) return;
  if (opens(turn)) return;
  // An answer that was lost is asked for until it is known: both records may be in force meanwhile.
  if (lead.recording !== null) return record(turn, lead, lead.recording);
  const wanted = wantedNow(turn, lead);
  const plan = planSyncChange(lead.recorded, wanted);
  if (plan === null) {
    if (lead.barrier !== null) turn.setLead({ barrier: null });
    if (!isApplied(turn, lead, lead.recorded)) apply(turn, lead.recorded);
    return;
  }
  if (plan.order === 'record-first') return record(turn, lead, plan.next);
  if (!isApplied(turn, lead, plan.next)) return apply(turn, plan.next);
  raise(turn, plan.next);
}

/**
 * The term is being confirmed by a rule that some followers can meet, or opens: others are taken in a moment later.
 * A rule that changes would make the confirmation begin anew, and a reload delays what the held writes wait for.
 */
function opens(turn: Turn): boolean {
  const { mode, pending } = turn.state;
  if (mode.kind === 'LEADER_OPEN') return turn.now - (mode.lead.openedAtMs ?? turn.now) < OPENING_MS;
  if (mode.kind !== 'LEADER_HELD') return false;
  if (mode.phase === 'row') return pending.row !== undefined && turn.now - pending.row.sinceMs < ROW_PATIENCE_MS;
  return !lacksFollowers(turn.state, mode.lead);
}

function wantedNow(turn: Turn, lead: Lead): SyncSet {
  const { view, config, mode } = turn.state;
  const streaming = new Set(streamingByConsent(turn.state).map((s) => s.node));
  const names = new Set([...lead.recorded.members, ...streaming]);
  const facts = [...names]
    .filter((node) => node !== config.node && view?.members.get(node)?.noFailover !== true)
    .filter((node) => lead.recorded.members.includes(node) || view?.members.has(node) === true)
    .map((node) => ({
      node,
      streaming: streaming.has(node),
      missingForMs: turn.now - (lead.missingSinceMs.get(node) ?? turn.now),
    }));
  // As long as no write is accepted, a record that says `alone` costs nothing, and lets the others copy from here.
  const rules = rulesOf(turn.state);
  const withoutFollower = mode.kind === 'LEADER_HELD' ? 'go-on' : rules.withoutFollower;
  return wantedSync(lead.recorded, facts, { syncAcks: rules.syncAcks, withoutFollower, patienceMs: PATIENCE_MS });
}

/** Nobody is called so: it fills the places of those who must not acknowledge yet. */
export const NOBODY = 'leasehold_nobody';

/**
 * What PostgreSQL is told for a durability set: those of its members whose agents have agreed to this term, and
 * nobody for the rest. A smaller set with the same k keeps the record as well.
 */
export function effective(state: AgentState, set: SyncSet): SyncSet {
  if (set.k === 0) return ALONE;
  const members = set.members.filter((m) => consents(state, m));
  return { members: members.length >= set.k ? members : [...members, NOBODY], k: set.k };
}

function isApplied(turn: Turn, lead: Lead, set: SyncSet): boolean {
  return lead.applied !== null && sameSet(lead.applied, effective(turn.state, set));
}

function apply(turn: Turn, set: SyncSet): void {
  const { members, k } = effective(turn.state, set);
  turn.setLead({ barrier: null });
  turn.cancel('row'); // it would wait by the older rule
  turn.start('sync', syncLabel({ members, k }), 10_000, { type: 'pg-set-synchronous', names: members, k });
}

/** The record follows when k of its members have flushed all that was acknowledged before PostgreSQL was told. */
function raise(turn: Turn, target: SyncSet): void {
  const { mode, server } = turn.state;
  if (!('lead' in mode) || server.sample === null) return;
  const { barrier } = mode.lead;
  if (barrier === null || !sameSet(barrier.target, target)) {
    return turn.setLead({ barrier: { target, sinceMs: turn.now, lsn: null } });
  }
  if (server.askedAtMs < barrier.sinceMs + SETTLE_MS) return;
  const lsn = barrier.lsn ?? server.sample.flushedLsn;
  if (barrier.lsn === null) turn.setLead({ barrier: { ...barrier, lsn } });
  if (barrierReached(target, streamingByConsent(turn.state), lsn)) record(turn, mode.lead, target);
}

function record(turn: Turn, lead: Lead, set: SyncSet): void {
  turn.setLead({ recording: set });
  turn.decide('record', lead, [putSync(turn, lead.term, set)]);
}

/** True: the answer was one of these. */
export function syncAnswered(turn: Turn, answer: Answer): boolean {
  const { mode } = turn.state;
  if (!('lead' in mode)) return false;
  if (answer.lane === 'sync') {
    // After a failure nobody knows what is in force: it is told again.
    turn.setLead({ applied: answer.outcome === null ? null : parseSyncLabel(answer.what) });
    if (answer.outcome === null) turn.backOff(answer);
    return true;
  }
  if (answer.what !== 'record') return false;
  const { recording } = mode.lead;
  if (answer.outcome === null || recording === null) {
    turn.backOff(answer);
    return true;
  }
  turn.setLead({ recorded: recording, recording: null, barrier: null });
  const members = recording.members.join(', ') || 'nobody';
  const text =
    recording.k === 0 ? 'goes on without a synchronous follower' : `each commit is on ${recording.k} of ${members}`;
  turn.log(recording.k === 0 ? 'warn' : 'info', 'sync.recorded', text, {
    k: recording.k,
    term: Number(mode.lead.term),
  });
  return true;
}

/** What a `pg-set-synchronous` set, as the name of its effect. */
export function syncLabel(set: SyncSet): string {
  return `apply:${set.k}:${set.members.join()}`;
}

export function parseSyncLabel(label: string): SyncSet {
  const [, k, members] = label.split(':');
  return { k: Number(k), members: members === undefined || members === '' ? [] : members.split(',') };
}
