import { NO_TERM, type Term } from '../../common/lsn.ts';
import type { Comparison, Operation } from '../store/port.ts';
import { candidacy } from './candidate.ts';
import { describeLoss, forcedCandidacy } from './forced.ts';
import { leaseDeadline } from './lease-deadline.ts';
import type { AgentState, Attempt, Lead, ModeOf } from './state.ts';
import { ALONE, inheritedSync, type SyncSet } from './sync-quorum.ts';
import type { Turn } from './turn.ts';
import { historyOf, leaderValue, putSync, routeOf } from './writes.ts';

/** By what right a node may take the leader key. */
interface Right {
  readonly reason: Lead['reason'];
  readonly used: readonly { readonly node: string; readonly modRevision: number }[];
  readonly recorded: SyncSet;
  readonly detail: string | null;
}

/**
 * The acquire transaction. The durability record of the new term is written by it, and is valid from this moment:
 * see `inheritedSync`. False: this node has no right to it now.
 */
export function acquire(turn: Turn, mode: ModeOf<'CANDIDATE'>, bootstraps: boolean): boolean {
  const { view, config, lease, server, local } = turn.state;
  if (view === null || lease === null) return false;
  const right = rightOf(turn, mode.term, bootstraps);
  if (right === null) return false;
  const { keys } = turn;
  const compare: Comparison[] = [
    { type: 'create-revision', key: keys.leader, equals: 0 },
    { type: 'mod-revision', key: keys.term, equals: view.term.modRevision },
    { type: 'mod-revision', key: keys.sync, equals: view.sync?.modRevision ?? 0 },
    ...right.used.map((p) => ({ type: 'mod-revision' as const, key: keys.pledge(p.node), equals: p.modRevision })),
  ];
  if (bootstraps) compare.push({ type: 'create-revision', key: keys.system, equals: 0 });
  // A pause that was put down before this is carried out counts, seen or not.
  if (right.reason === 'failover') compare.push({ type: 'create-revision', key: keys.pause, equals: 0 });
  const attempt: Attempt = {
    term: mode.term,
    reason: right.reason,
    previousLeader: view.sync?.record.leader ?? null,
    parent: bootstraps ? NO_TERM : (local.pledge?.lineage ?? NO_TERM),
    recorded: right.recorded,
    routeSeq: (view.route?.seq ?? 0) + 1,
    detail: right.detail,
  };
  turn.set({ attempt });
  const timeline = (server.sample?.timeline ?? 0) + 1;
  const then: Operation[] = [
    { type: 'put', key: keys.leader, value: leaderValue(config, mode.term), lease: lease.id },
    { type: 'put', key: keys.term, value: mode.term.toString() },
    ...(bootstraps ? [] : [putSync(turn, mode.term, attempt.recorded)]),
    historyOf(turn, mode.term, { ...attempt, timeline, promoted: false, nextXid: null }),
    routeOf(turn, mode.term, { hold: true, seq: attempt.routeSeq, nextXid: null }),
  ];
  turn.transact('decide', 'acquire', 1000, { compare, then });
  return true;
}

function rightOf(turn: Turn, term: Term, bootstraps: boolean): Right | null {
  const { view, config } = turn.state;
  if (view === null) return null;
  if (bootstraps) return { reason: 'bootstrap', used: [], recorded: ALONE, detail: null };
  const mine = candidacy(view, config);
  if (mine.kind === 'no') return forcedRight(turn, term);
  if (view.pause !== null && mine.byRecord === null) return null;
  const { sync } = view;
  const restart = sync?.record.leader === config.node ? 'restart' : 'failover';
  const reason = sync?.record.handover === config.node ? 'switchover' : restart;
  return { reason, used: mine.used, recorded: inheritedSync(sync?.record, config.node), detail: null };
}

/**
 * By an operator's consent: from now on "everything acknowledged" is what this copy holds, so nobody else is eligible
 * until followers stream from it.
 */
function forcedRight(turn: Turn, term: Term): Right | null {
  const { view, config, leaderSeen } = turn.state;
  const consent = consentFor(turn, term);
  if (view === null || consent === null) return null;
  const mine = forcedCandidacy(view, config.node);
  if (mine.kind === 'no') return null;
  const detail = `${consent.by} consented to a loss: ${describeLoss(view, config.node, leaderSeen)}`;
  return { reason: 'forced', used: mine.used, recorded: ALONE, detail };
}

/** What an operator consented to, if it is about this term and they still wait for it. */
export function consentFor(turn: Turn, term: Term): AgentState['consent'] {
  const { consent } = turn.state;
  return consent !== null && consent.term === term && turn.now < consent.untilMs ? consent : null;
}

/** The leader key is ours by a transaction whose answer was lost. */
export function adopt(turn: Turn): boolean {
  const { view, lease, config, ownRevision, attempt } = turn.state;
  const key = view?.leader ?? null;
  if (view === null || key === null || lease === null || attempt === null || view.revision <= ownRevision) return false;
  const ours = key.record.node === config.node && key.record.bootId === config.bootId && key.lease === lease.id;
  if (!ours || key.record.term !== attempt.term || !turn.idle('decide', 'server', 'local')) return false;
  lead(turn, key.createRevision, lease.sentAtMs);
  return true;
}

/** @param createRevision of the leader key, which is the revision of the whole acquire transaction */
export function lead(turn: Turn, createRevision: number, guardedAtMs: number): void {
  const { lease, attempt } = turn.state;
  if (lease === null || attempt === null) return;
  turn.cancel('lease', 'sample');
  const lead: Lead = {
    ...attempt,
    createRevision,
    lease: lease.id,
    keptAtMs: lease.sentAtMs,
    guardedAtMs,
    renewAtMs: turn.now,
    routeRevision: createRevision,
    syncRevision: attempt.reason === 'bootstrap' ? 0 : createRevision,
    nextXid: null,
    timeline: turn.state.server.sample?.timeline ?? 0,
    applied: null,
    recording: null,
    barrier: null,
    missingSinceMs: new Map(),
    openedAtMs: null,
    rewindable: false,
    aliveAtMs: turn.now,
  };
  turn.set({
    lease: null,
    attempt: null,
    ownRevision: createRevision,
    resignedAtMs: null,
    consent: null,
    failures: 0,
    hadLeader: true,
  });
  turn.note(null);
  turn.effects.push({ type: 'feed-watchdog', deadlineMs: leaseDeadline(turn.state.config, lead) });
  const { term, reason } = attempt;
  turn.log('info', 'lease.acquired', `leads term ${term} (${reason})`, { term: Number(term), reason });
  const bootstraps = reason === 'bootstrap';
  const left = bootstraps ? (['synchronous'] as const) : (['lineage', 'fence', 'synchronous'] as const);
  turn.go({ kind: 'PROMOTING', lead, phase: bootstraps ? 'save' : 'prepare', left });
}
