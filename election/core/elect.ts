import type { Comparison } from '../store/port.ts';
import * as records from '../store/records.ts';
import type { PauseRecord } from '../store/records.ts';
import { acquire, adopt, consentFor, lead } from './acquire.ts';
import { candidacy, type Candidacy, comparePositions } from './candidate.ts';
import type { ClusterView } from './cluster-view.ts';
import { describePause } from './facts.ts';
import { bestForced, describeLoss, forcedCandidacy } from './forced.ts';
import { leaseIsFresh } from './lease-deadline.ts';
import { lineageOf } from './lineage.ts';
import { takeSample } from './observe.ts';
import type { ModeOf } from './state.ts';
import type { Answer, Turn } from './turn.ts';

/** The old leader takes its own lease back only when nobody else has for this long. */
const OLD_LEADER_WAITS_MS = 3000;
/** Others than the node that was handed over to wait so long after a planned switchover. */
const HANDOVER_GRACE_MS = 2000;
/** At a cold start the old leader goes first. */
const COLD_START_WAITS_MS = 1500;
/** An election that takes longer than this waits for somebody who may never come. */
const STUCK_MS = 10_000;

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
  const own = view.pledges.get(config.node)?.record;
  const published = own !== undefined && local.pledge !== null && comparePositions(own, local.pledge) === 0;
  if (mine.kind === 'no') {
    if (published && isForced(turn, mode)) return turn.go({ kind: 'CANDIDATE', term: mode.term, phase: 'lease' });
    return waits(turn, mine.why);
  }
  if (!published) return;
  if (view.pause !== null && mine.byRecord === null) return turn.note(pausedNote(view, view.pause));
  const since = Math.max(leaderGoneSinceMs ?? turn.now, resignedAtMs ?? Number.NEGATIVE_INFINITY);
  const facts = {
    cold: !turn.state.hadLeader,
    resigned: resignedAtMs !== null,
    paused: view.pause !== null,
    raceAtMs: mode.raceAtMs,
    since,
  };
  if (turn.now < earliest(mine, view.sync?.record.handover, facts)) return;
  turn.note(null);
  turn.go({ kind: 'CANDIDATE', term: mode.term, phase: 'lease' });
}

function pausedNote(view: ClusterView, pause: PauseRecord): string {
  const leader = view.sync?.record.leader ?? 'the last leader';
  return `could lead, but automatic failover is paused (${describePause(pause)}): waits for ${leader}, or for "leasehold resume"`;
}

/** An operator named this node, and nobody can be promoted without a loss. */
function isForced(turn: Turn, mode: ModeOf<'PLEDGED'>): boolean {
  const { view, config } = turn.state;
  if (view === null || consentFor(turn, mode.term) === null) return false;
  const forced = forcedCandidacy(view, config.node);
  if (forced.kind === 'possible') return true;
  turn.log('warn', 'force.refused', `is not promoted by force: ${forced.why}`, { term: Number(mode.term) });
  turn.set({ consent: null });
  return false;
}

/** Nobody can be elected by what is there. Where that lasts, the way out is said, and its price. */
function waits(turn: Turn, why: string): void {
  const { view, config, leaderGoneSinceMs, leaderSeen, note } = turn.state;
  const lasting = turn.now - (leaderGoneSinceMs ?? turn.now) >= STUCK_MS;
  const best = lasting && view !== null ? bestForced(view) : null;
  const waiting = `waits for a leader: ${why}`;
  if (view === null || best === null) return turn.note(waiting);
  const command = `leasehold failover --allow-data-loss --node ${best}`;
  const price = best === config.node ? ` (${describeLoss(view, best, leaderSeen)})` : '';
  const advice = `${waiting}. If what it waits for is lost for good: "${command}"${price}`;
  if (advice !== note) turn.log('warn', 'election.stuck', advice);
  turn.note(advice);
}

interface RaceFacts {
  /** Nobody has led since this agent started: the old leader is likely to be starting, too. */
  readonly cold: boolean;
  readonly resigned: boolean;
  /** Nobody else may run. */
  readonly paused: boolean;
  readonly raceAtMs: number;
  /** Since when there is no leader, or it gave the lease up itself. */
  readonly since: number;
}

function earliest(mine: Candidacy, handover: string | undefined, facts: RaceFacts): number {
  const atOnce = Number.NEGATIVE_INFINITY;
  if (mine.kind === 'no') return Number.POSITIVE_INFINITY;
  if (mine.byRecord === 'handover') return atOnce;
  if (mine.byRecord === 'leader') {
    const first = handover === undefined && (facts.paused || (facts.cold && !facts.resigned));
    return first ? atOnce : facts.since + OLD_LEADER_WAITS_MS;
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
  if (!acquire(turn, mode, bootstraps)) standBack(turn, mode, bootstraps);
}

function standBack(turn: Turn, mode: ModeOf<'CANDIDATE'>, bootstraps: boolean): void {
  if (bootstraps || !turn.state.server.running) return turn.go({ kind: 'INIT', killed: false });
  turn.go({ kind: 'PLEDGED', term: mode.term, phase: 'ready', raceAtMs: turn.now + 500 + turn.state.random * 1000 });
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
