import { NO_TERM } from '../../common/lsn.ts';
import { candidacy, type Candidacy, comparePositions } from './candidate.ts';
import { takeSample } from './observe.ts';
import { lineageOf } from './lineage.ts';
import { leaseDeadline, leaseIsFresh } from './lease-deadline.ts';
import type { Lead, ModeOf } from './state.ts';
import type { SyncSet } from './sync-quorum.ts';
import { ALONE, sorted } from './sync-quorum.ts';
import type { Answer, Turn } from './turn.ts';
import type { Comparison, Operation } from '../store/port.ts';
import * as records from '../store/records.ts';
import { leaderValue } from './lead.ts';

/** The old leader takes its own lease back only when nobody else has for this long. */
const OLD_LEADER_WAITS_MS = 3000;
/** Others than the node that was handed over to wait so long after a planned switchover. */
const HANDOVER_GRACE_MS = 2000;

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
  if (turn.now < earliest(mine, view.sync?.record.handover, since, mode.raceAtMs)) return;
  turn.note(null);
  turn.go({ kind: 'CANDIDATE', term: mode.term, phase: 'lease' });
}

function earliest(mine: Candidacy, handover: string | undefined, since: number, raceAtMs: number): number {
  if (mine.kind === 'no') return Number.POSITIVE_INFINITY;
  if (mine.byRecord === 'handover') return Number.NEGATIVE_INFINITY;
  const grace = handover === undefined ? Number.NEGATIVE_INFINITY : since + HANDOVER_GRACE_MS;
  if (mine.byRecord === 'leader') return since + OLD_LEADER_WAITS_MS;
  return Math.max(grace, mine.best ? Number.NEGATIVE_INFINITY : raceAtMs);
}

export function pledgedDone(turn: Turn, mode: ModeOf<'PLEDGED'>, answer: Answer): void {
  const { outcome } = answer;
  if (answer.what === 'unfollow') turn.go({ ...mode, phase: 'sample' });
  else if (answer.lane === 'sample') {
    takeSample(turn, outcome);
    const { sample } = turn.state.server;
    if (sample === null || sample.receiver.running) return turn.go({ ...mode, phase: 'unfollow' });
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
  const then: Operation[] = [
    { type: 'put', key: keys.leader, value: leaderValue(config, mode.term), lease: lease.id },
    { type: 'put', key: keys.term, value: mode.term.toString() },
    ...(bootstraps ? [] : [putSync(turn, mode.term, inheritedSync(view.sync?.record, config.node))]),
    historyOf(turn, mode.term, {
      timeline: (server.sample?.timeline ?? 0) + 1,
      parent: bootstraps ? NO_TERM : (turn.state.local.pledge?.lineage ?? NO_TERM),
      promoted: false,
      nextXid: null,
      reason: reasonOf(turn, bootstraps),
    }),
    routeOf(turn, mode.term, { hold: true, seq: (view.route?.seq ?? 0) + 1, nextXid: null }),
  ];
  turn.transact('decide', 'acquire', 1000, { compare, then });
}

/**
 * Followers and k of the new term's durability record, valid before anything is acknowledged in it. Whatever was
 * acknowledged is on the old leader and on k of its members. Those of them that are not the new leader, at least k,
 * are in (members + old leader − new leader): k of that set hold it, so any |set| − k + 1 of the set have a member
 * that does. `k` = 0: only the new leader holds everything for certain.
 */
export function inheritedSync(old: records.SyncRecord | undefined, node: string): SyncSet {
  if (old === undefined || old.k === 0) return ALONE;
  const members = sorted([...new Set([...old.members, old.leader])].filter((m) => m !== node));
  return { members, k: old.k };
}

function reasonOf(turn: Turn, bootstraps: boolean): Lead['reason'] {
  const sync = turn.state.view?.sync?.record;
  if (bootstraps) return 'bootstrap';
  if (sync?.handover === turn.state.config.node) return 'switchover';
  return sync?.leader === turn.state.config.node ? 'restart' : 'failover';
}

export function historyOf(
  turn: Turn,
  term: Lead['term'],
  facts: {
    readonly timeline: number;
    readonly parent: Lead['term'];
    readonly promoted: boolean;
    readonly nextXid: string | null;
    readonly reason: Lead['reason'];
  },
): Operation {
  const value = records.encodeRecord(records.historyRecord, {
    term,
    leader: turn.state.config.node,
    previousLeader: turn.state.view?.sync?.record.leader ?? null,
    ...facts,
    at: turn.state.wallTime,
    detail: null,
  });
  return { type: 'put', key: turn.keys.history(term), value };
}

export function putSync(turn: Turn, term: Lead['term'], set: SyncSet, handover?: string): Operation {
  const record = { term, leader: turn.state.config.node, members: [...set.members], k: set.k };
  const value = records.encodeRecord(records.syncRecord, handover === undefined ? record : { ...record, handover });
  return { type: 'put', key: turn.keys.sync, value };
}

export function routeOf(
  turn: Turn,
  term: Lead['term'],
  route: { readonly hold: boolean; readonly seq: number; readonly nextXid: string | null },
): Operation {
  const { node, address } = turn.state.config;
  const value = records.encodeRecord(records.routeRecord, { term, leader: node, address, ...route });
  return { type: 'put', key: turn.keys.route, value };
}

export function candidateDone(turn: Turn, mode: ModeOf<'CANDIDATE'>, answer: Answer): void {
  const { outcome } = answer;
  const { view, lease } = turn.state;
  if (outcome?.type === 'lease') turn.set({ lease: { id: outcome.lease, sentAtMs: outcome.sentAtMs } });
  else if (answer.what === 'acquire' && outcome?.type === 'transaction') {
    const bootstraps = view?.system === null && view.sync === null;
    if (!outcome.succeeded || lease === null) return standBack(turn, mode, bootstraps);
    lead(
      turn,
      mode.term,
      outcome.revision,
      outcome.sentAtMs,
      inheritedSync(view?.sync?.record, turn.state.config.node),
    );
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
  const { view, lease, config, ownRevision } = turn.state;
  const key = view?.leader;
  if (view === null || key === null || key === undefined || lease === null || view.revision <= ownRevision)
    return false;
  const ours = key.record.node === config.node && key.record.bootId === config.bootId && key.lease === lease.id;
  if (!ours || key.record.term !== view.term.value || !turn.idle('decide', 'server', 'local')) return false;
  const sync = view.sync?.record;
  const recorded = sync?.term === key.record.term ? { members: sync.members, k: sync.k } : ALONE;
  lead(turn, key.record.term, key.createRevision, lease.sentAtMs, recorded);
  return true;
}

function lead(turn: Turn, term: Lead['term'], createRevision: number, guardedAtMs: number, recorded: SyncSet): void {
  const { lease, view } = turn.state;
  if (lease === null) return;
  const reason = reasonOf(turn, view?.system === null && view.sync === null);
  turn.cancel('lease', 'sample');
  const lead: Lead = {
    term,
    createRevision,
    lease: lease.id,
    keptAtMs: lease.sentAtMs,
    guardedAtMs,
    renewAtMs: turn.now,
    reason,
    previousLeader: view?.sync?.record.leader ?? null,
    parent: reason === 'bootstrap' ? NO_TERM : (turn.state.local.pledge?.lineage ?? NO_TERM),
    routeSeq: (view?.route?.seq ?? 0) + 1,
    nextXid: null,
    timeline: turn.state.server.sample?.timeline ?? 0,
    applied: null,
    recorded,
    recording: null,
    barrier: null,
    missingSinceMs: new Map(),
    rewindable: false,
    aliveAtMs: turn.now,
  };
  turn.set({ lease: null, ownRevision: createRevision, resignedAtMs: null, failures: 0 });
  turn.note(null);
  turn.effects.push({ type: 'feed-watchdog', deadlineMs: leaseDeadline(turn.state.config, lead) });
  turn.log('info', 'lease.acquired', `leads term ${term} (${reason})`, { term: Number(term), reason });
  turn.go({ kind: 'PROMOTING', lead, phase: 'save' });
}
