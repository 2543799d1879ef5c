import { NO_TERM } from '../../common/lsn.ts';
import { candidacy, type Candidacy, comparePositions } from './candidate.ts';
import { takeSample } from './observe.ts';
import { lineageOf } from './lineage.ts';
import { leaseDeadline, leaseIsFresh } from './lease-deadline.ts';
import type { Attempt, Lead, ModeOf } from './state.ts';
import { inheritedSync } from './sync-quorum.ts';
import type { Answer, Turn } from './turn.ts';
import type { Comparison, Operation } from '../store/port.ts';
import * as records from '../store/records.ts';
import { historyOf, leaderValue, putSync, routeOf } from './writes.ts';

/** The old leader takes its own lease back only when nobody else has for this long. */
const OLD_LEADER_WAITS_MS = 3000;
/** Others than the node that was handed over to wait so long after a planned switchover. */
const HANDOVER_GRACE_MS = 2000;
/** At a cold start the old leader goes first. */
const COLD_START_WAITS_MS = 1500;

export function proceedPledged(turn: Turn, mode: ModeOf<'PLEDGED'>): void {
  const { view, server } = turn.state;
  if (adopt(turn)) return;
  if (!server.running) return turn.go({ kind: 'FENCED', phase: 'start', untilMs: 0 });
  if (view === null) return;
  const current = view.leaderCreateRevision === 0 && view.term.value + 1n === mode.term;
  if (!current && turn.idle('server', 'local', 'decide')) return giveWay(turn, mode);
  if (!current) return;
  grantAhead(turn);
  if (mode.phase === 'unfollow') {
    if (turn.serverReady) turn.start('server', 'unfollow', 10_000, { type: 'pg-follow', peer: null });
  } else if (mode.phase === 'sample') {
    if (turn.idle('kill') && turn.now >= turn.state.retryAtMs) {
      if (turn.state.pending.sample?.what === 'regular') turn.cancel('sample');
      if (turn.idle('sample')) turn.start('sample', 'pledge', 1000, { type: 'pg-sample' });
    }
  } else if (mode.phase === 'save') save(turn, mode);
  else if (mode.phase === 'publish') publishPledge(turn, mode);
  else race(turn, mode);
}

/** Somebody leads, or the race was for another term. What was measured with the receiver off stays true. */
function giveWay(turn: Turn, mode: ModeOf<'PLEDGED'>): void {
  const settled = mode.phase === 'save' || mode.phase === 'publish' || mode.phase === 'ready';
  turn.go({ kind: 'FOLLOWER', attached: null, settled });
}

/** A lease is at hand by the time the pledges are. */
function grantAhead(turn: Turn): void {
  const { lease, config } = turn.state;
  if (lease !== null && turn.now - lease.sentAtMs < config.ttlMs / 2) return;
  if (turn.idle('lease') && turn.now >= turn.state.retryAtMs) {
    turn.start('lease', 'grant', 1000, { type: 'grant-lease', ttlMs: config.ttlMs });
  }
}

function save(turn: Turn, mode: ModeOf<'PLEDGED'>): void {
  const { view, server } = turn.state;
  const { sample } = server;
  if (sample === null || view === null || !turn.idle('local')) return;
  const { timeline, flushedLsn } = sample;
  const lineage = lineageOf(view.history, turn.state.local, timeline);
  const pledge = { node: turn.state.config.node, term: mode.term, timeline, flushedLsn, lineage };
  turn.saveLocal(`pledge:${mode.term}`, { ...turn.state.local, pledge });
}

function publishPledge(turn: Turn, mode: ModeOf<'PLEDGED'>): void {
  const { view, local, config } = turn.state;
  if (view === null || local.pledge === null || !turn.idle('decide') || turn.now < turn.state.retryAtMs) return;
  const compare: Comparison[] = [
    { type: 'create-revision', key: turn.keys.leader, equals: 0 },
    { type: 'mod-revision', key: turn.keys.term, equals: view.term.modRevision },
  ];
  const value = records.encodeRecord(records.pledgeRecord, { ...local.pledge, term: mode.term });
  const put = { type: 'put', key: turn.keys.pledge(config.node), value } as const;
  turn.transact('decide', `pledge:${mode.term}`, 1000, { compare, then: [put] });
}

function race(turn: Turn, mode: ModeOf<'PLEDGED'>): void {
  const { view, config, local, resignedAtMs, leaderGoneSinceMs } = turn.state;
  if (view === null || !turn.idle('decide') || turn.now < turn.state.retryAtMs) return;
  const mine = candidacy(view, config);
  if (mine.kind === 'no') return turn.note(`waits for a leader: ${mine.why}`);
  const own = view.pledges.get(config.node)?.record;
  if (own === undefined || local.pledge === null || comparePositions(own, local.pledge) !== 0) return;
  const since = Math.max(leaderGoneSinceMs ?? turn.now, resignedAtMs ?? Number.NEGATIVE_INFINITY);
  const facts = { cold: !turn.state.hadLeader, resigned: resignedAtMs !== null, raceAtMs: mode.raceAtMs, since };
  if (turn.now < earliest(mine, view.sync?.record.handover, facts)) return;
  turn.note(null);
  turn.go({ kind: 'CANDIDATE', term: mode.term, phase: 'lease' });
}

interface RaceFacts {
  /** Nobody has led since this agent started: the old leader is likely to be starting, too. */
  readonly cold: boolean;
  readonly resigned: boolean;
  readonly raceAtMs: number;
  /** Since when there is no leader, or it gave the lease up itself. */
  readonly since: number;
}

function earliest(mine: Candidacy, handover: string | undefined, facts: RaceFacts): number {
  const atOnce = Number.NEGATIVE_INFINITY;
  if (mine.kind === 'no') return Number.POSITIVE_INFINITY;
  if (mine.byRecord === 'handover') return atOnce;
  if (mine.byRecord === 'leader') {
    return facts.cold && !facts.resigned && handover === undefined ? atOnce : facts.since + OLD_LEADER_WAITS_MS;
  }
  // Whoever led last need not be rewound if it leads again.
  const warm = facts.cold ? facts.since + COLD_START_WAITS_MS : atOnce;
  const grace = handover === undefined ? atOnce : facts.since + HANDOVER_GRACE_MS;
  return Math.max(grace, warm, mine.best ? atOnce : facts.raceAtMs);
}

export function pledgedDone(turn: Turn, mode: ModeOf<'PLEDGED'>, answer: Answer): void {
  const { outcome } = answer;
  if (answer.what === 'unfollow') turn.go({ ...mode, phase: 'sample' });
  else if (answer.lane === 'sample') {
    takeSample(turn, answer);
    const { sample } = turn.state.server;
    if (sample === null || sample.receiver.running) {
      turn.pause(50);
      return turn.go({ ...mode, phase: 'unfollow' });
    }
    turn.go({ ...mode, phase: 'save' });
  } else if (answer.what === `pledge:${mode.term}` && answer.lane === 'local') {
    if (mode.phase === 'save') turn.go({ ...mode, phase: 'publish' });
  } else if (outcome?.type === 'lease') turn.set({ lease: { id: outcome.lease, sentAtMs: outcome.sentAtMs } });
  else if (answer.what === `pledge:${mode.term}` && outcome?.type === 'transaction') {
    if (!outcome.succeeded || mode.phase !== 'publish') return; // the next view tells why
    turn.set({ failures: 0 });
    turn.log('info', 'pledge.made', `takes no WAL from a term below ${mode.term}`, { term: Number(mode.term) });
    turn.go({ ...mode, phase: 'ready', raceAtMs: turn.now + 1000 + turn.state.random * 1000 });
  }
}

export function pledgedFailed(turn: Turn, mode: ModeOf<'PLEDGED'>, answer: Answer): void {
  turn.backOff(answer);
  if (answer.lane === 'sample') turn.go({ ...mode, phase: 'unfollow' });
}

export function proceedCandidate(turn: Turn, mode: ModeOf<'CANDIDATE'>): void {
  const { view, lease, config, server } = turn.state;
  if (view === null || !turn.idle('decide')) return;
  if (adopt(turn)) return;
  const bootstraps = view.system === null && view.sync === null;
  const stale = view.leaderCreateRevision !== 0 || view.term.value + 1n !== mode.term;
  if (stale || (!bootstraps && !server.running)) return standBack(turn, mode, bootstraps);
  if (lease === null || !leaseIsFresh(config, lease.sentAtMs, turn.now)) {
    if (turn.idle('lease') && turn.now >= turn.state.retryAtMs) {
      turn.start('lease', 'grant', 1000, { type: 'grant-lease', ttlMs: config.ttlMs });
    }
    return;
  }
  if (turn.now < turn.state.retryAtMs) return;
  acquire(turn, mode, bootstraps);
}

function standBack(turn: Turn, mode: ModeOf<'CANDIDATE'>, bootstraps: boolean): void {
  if (bootstraps || !turn.state.server.running) return turn.go({ kind: 'INIT', killed: false });
  turn.go({ kind: 'PLEDGED', term: mode.term, phase: 'ready', raceAtMs: turn.now + 500 + turn.state.random * 1000 });
}

/**
 * The acquire transaction. The durability record of the new term is written by it, and is valid from this moment:
 * see `inheritedSync`.
 */
function acquire(turn: Turn, mode: ModeOf<'CANDIDATE'>, bootstraps: boolean): void {
  const { view, config, lease, server } = turn.state;
  if (view === null || lease === null) return;
  const mine: Candidacy = bootstraps
    ? { kind: 'eligible', best: true, byRecord: null, used: [] }
    : candidacy(view, config);
  if (mine.kind === 'no') return standBack(turn, mode, bootstraps);
  const { keys } = turn;
  const compare: Comparison[] = [
    { type: 'create-revision', key: keys.leader, equals: 0 },
    { type: 'mod-revision', key: keys.term, equals: view.term.modRevision },
    { type: 'mod-revision', key: keys.sync, equals: view.sync?.modRevision ?? 0 },
    ...mine.used.map((p) => ({ type: 'mod-revision' as const, key: keys.pledge(p.node), equals: p.modRevision })),
  ];
  if (bootstraps) compare.push({ type: 'create-revision', key: keys.system, equals: 0 });
  const attempt: Attempt = {
    term: mode.term,
    reason: reasonOf(turn, bootstraps),
    previousLeader: view.sync?.record.leader ?? null,
    parent: bootstraps ? NO_TERM : (turn.state.local.pledge?.lineage ?? NO_TERM),
    recorded: inheritedSync(view.sync?.record, config.node),
    routeSeq: (view.route?.seq ?? 0) + 1,
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
}

function reasonOf(turn: Turn, bootstraps: boolean): Lead['reason'] {
  const sync = turn.state.view?.sync?.record;
  if (bootstraps) return 'bootstrap';
  if (sync?.handover === turn.state.config.node) return 'switchover';
  return sync?.leader === turn.state.config.node ? 'restart' : 'failover';
}

export function candidateDone(turn: Turn, mode: ModeOf<'CANDIDATE'>, answer: Answer): void {
  const { outcome } = answer;
  const { view, lease } = turn.state;
  if (outcome?.type === 'lease') turn.set({ lease: { id: outcome.lease, sentAtMs: outcome.sentAtMs } });
  else if (answer.what === 'acquire' && outcome?.type === 'transaction') {
    const bootstraps = view?.system === null && view.sync === null;
    if (!outcome.succeeded || lease === null) return standBack(turn, mode, bootstraps);
    lead(turn, outcome.revision, outcome.sentAtMs);
  }
}

export function candidateFailed(turn: Turn, mode: ModeOf<'CANDIDATE'>, answer: Answer): void {
  turn.backOff(answer);
  if (answer.what !== 'acquire') return;
  // It may have been carried out: then a view shows the key with our lease, and it is adopted there.
  const { view } = turn.state;
  standBack(turn, mode, view?.system === null && view.sync === null);
}

/** The leader key is ours by a transaction whose answer was lost. */
function adopt(turn: Turn): boolean {
  const { view, lease, config, ownRevision, attempt } = turn.state;
  const key = view?.leader ?? null;
  if (view === null || key === null || lease === null || attempt === null || view.revision <= ownRevision) return false;
  const ours = key.record.node === config.node && key.record.bootId === config.bootId && key.lease === lease.id;
  if (!ours || key.record.term !== attempt.term || !turn.idle('decide', 'server', 'local')) return false;
  lead(turn, key.createRevision, lease.sentAtMs);
  return true;
}

/** @param createRevision of the leader key, which is the revision of the whole acquire transaction */
function lead(turn: Turn, createRevision: number, guardedAtMs: number): void {
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
