import type { Term } from '../../common/lsn.ts';
import { beginClone, leastClaim } from './copy.ts';
import { maxTerm, openLeader, peerOf } from './facts.ts';
import { givenUpBy, lineageOf } from './lineage.ts';
import { relation } from './rejoin.ts';
import { orphanGone } from './orphan.ts';
import type { ModeOf } from './state.ts';
import type { Answer, Turn } from './turn.ts';

/** Crash recovery may take long. */
const START_TIMEOUT_MS = 600_000;
const STOP_TIMEOUT_MS = 10_000;
/** A follower that cannot stream from an open leader for this long is cloned anew (the WAL it needs is gone). */
const STARVED_MS = 60_000;
/** After a rewind that found nothing to do, the data does not fit still. */
const REWOUND_STARVED_MS = 10_000;
/** Longer is worth telling. */
const SLOW_START_MS = 5000;
const YIELD_MS = 700;
const STARTS_BEFORE_CLONE = 6;

export function proceedFenced(turn: Turn, mode: ModeOf<'FENCED'>): void {
  const { state } = turn;
  if (mode.phase === 'over') return;
  if (mode.phase === 'leave') return leave(turn, mode);
  if (mode.phase === 'stop' || state.stopping) {
    if (mode.phase !== 'stop') return turn.go({ ...mode, phase: 'stop', untilMs: turn.now + 3000 });
    if (!state.server.running && turn.idle('server', 'kill'))
      return turn.go({ ...mode, phase: 'leave', untilMs: turn.now + 1500 });
    if (turn.idle('server', 'kill')) turn.start('server', 'stop', STOP_TIMEOUT_MS, { type: 'pg-stop', mode: 'fast' });
    return;
  }
  if (state.server.running) return turn.go({ kind: 'FOLLOWER', attached: null, settled: false });
  startFenced(turn);
}

/**
 * Starts PostgreSQL as a follower: of the leader that the data has agreed to already, if it still leads, else of
 * nobody. A copy is consistent only once it has streamed from its source; without it, it would wait for ever.
 */
function startFenced(turn: Turn): void {
  const { state } = turn;
  const { pending, view, local, config, copiedFrom } = state;
  const leader = view?.leader?.record ?? null;
  const agreed = leader !== null && leader.node !== config.node && leader.term === local.lineageTerm;
  const peer = agreed && leader.term >= maxTerm(state) ? leader : null;
  const starting = pending.server?.what.startsWith('start:') === true ? pending.server : null;
  if (starting !== null) {
    if (turn.now - starting.sinceMs > SLOW_START_MS) turn.note('PostgreSQL is starting (recovery)');
    // Its source is gone: what it waits for may never come.
    if (starting.what === 'start:' || starting.what === `start:${peer?.term ?? ''}` || !turn.idle('kill')) return;
    turn.cancel('server');
    return turn.start('kill', 'kill', 30_000, { type: 'pg-kill' });
  }
  if (!turn.serverReady || yields(turn)) return;
  // A copy that never became consistent is worth nothing; one that does not start is the operator's during a pause.
  const incomplete = copiedFrom !== null && copiedFrom !== peer?.term;
  const hopeless = incomplete || (state.failures >= STARTS_BEFORE_CLONE && view?.pause === null);
  if (hopeless && openLeader(state) !== null) return beginClone(turn, 'PostgreSQL does not start', leastClaim(state));
  if (copiedFrom !== null && peer === null) return turn.note('its copy is incomplete: waiting for an open leader');
  turn.effects.push({ type: 'feed-watchdog', deadlineMs: null });
  const from = peer === null ? null : peerOf(peer);
  turn.start('server', `start:${peer?.term ?? ''}`, START_TIMEOUT_MS, {
    type: 'pg-start',
    role: 'follower',
    peer: from,
  });
}

/**
 * A node that has just given up the lease does not recover its data in the very moment in which another is promoted:
 * they may share a machine, and two followers are enough for a quorum without it.
 */
function yields(turn: Turn): boolean {
  const { resignedAtMs, view, config } = turn.state;
  if (resignedAtMs === null || turn.now - resignedAtMs > YIELD_MS || view === null || view.pause !== null) return false;
  const others = [...view.members.keys()].filter((node) => node !== config.node).length;
  const open = view.leader !== null && view.route?.term === view.leader.record.term && !view.route.hold;
  return others >= 2 && !open;
}

export function fencedDone(turn: Turn, mode: ModeOf<'FENCED'>, answer: Answer): void {
  if (answer.what.startsWith('start:')) {
    // It is proven gone, and started again: nobody knows which of the two came first.
    if (turn.state.server.diedStarting) return turn.start('kill', 'kill', 30_000, { type: 'pg-kill' });
    const term = answer.what.slice('start:'.length);
    turn.setServer({ running: true });
    turn.set({ failures: 0, copiedFrom: null });
    turn.note(null);
    turn.log('info', 'postgres.started', `PostgreSQL runs as a follower${term === '' ? ' of nobody yet' : ''}`);
    const attached = term === '' ? null : (BigInt(term) as Term);
    turn.go({ kind: 'FOLLOWER', attached, settled: false });
  } else if (answer.lane === 'server' || answer.lane === 'kill') {
    turn.setServer({ running: false });
  } else if (answer.what === 'leave') finish(turn, mode);
}

export function fencedFailed(turn: Turn, mode: ModeOf<'FENCED'>, answer: Answer): void {
  if (answer.what.startsWith('start:')) turn.backOff(answer);
  else if (answer.lane === 'server') turn.start('kill', 'kill', 30_000, { type: 'pg-kill' });
  else if (answer.lane === 'kill') turn.start('kill', 'kill', 30_000, { type: 'pg-kill' });
  else if (answer.what === 'leave') finish(turn, mode);
}

/** Stops in order from any mode that does not lead. */
export function stopNow(turn: Turn): void {
  turn.cancel('local', 'decide', 'lease', 'guard', 'row', 'sync', 'checkpoint', 'slots', 'sample');
  if (!turn.idle('server')) {
    turn.cancel('server');
    if (turn.idle('kill')) turn.start('kill', 'kill', 30_000, { type: 'pg-kill' });
  }
  turn.set({ stopping: true });
  turn.go({ kind: 'FENCED', phase: 'stop', untilMs: turn.now + 3000 });
}

function leave(turn: Turn, mode: ModeOf<'FENCED'>): void {
  const { view, config, memberLease } = turn.state;
  if (turn.now > mode.untilMs || view === null || memberLease === null) return finish(turn, mode);
  if (!turn.idle('decide')) return;
  turn.cancel('member-lease', 'member-put');
  const then = [{ type: 'delete', key: turn.keys.member(config.node) }] as const;
  turn.transact('decide', 'leave', 1000, { compare: [], then });
}

function finish(turn: Turn, mode: ModeOf<'FENCED'>): void {
  turn.go({ ...mode, phase: 'over' });
  turn.log('info', 'agent.finished', 'PostgreSQL is stopped, the agent ends');
  turn.effects.push({ type: 'finished', error: null });
}

export function proceedFollower(turn: Turn, mode: ModeOf<'FOLLOWER'>): void {
  const { state } = turn;
  const { view, server } = state;
  if (!server.running) return turn.go({ kind: 'FENCED', phase: 'start', untilMs: 0 });
  if (view === null) return;
  if (view.leader === null) return withoutLeader(turn, mode);
  if (view.leader.record.node === state.config.node) return;
  if (mode.attached === view.leader.record.term) return attached(turn, mode);
  attach(turn, mode);
}

function withoutLeader(turn: Turn, _mode: ModeOf<'FOLLOWER'>): void {
  const { view, server } = turn.state;
  if (view === null || view.leaderCreateRevision !== 0) return;
  if (view.sync === null || view.system === null) return turn.note('the cluster has no durability record yet');
  if (server.sample !== null && !server.sample.inRecovery) return; // never: it was started as a follower
  if (!turn.serverReady) return;
  turn.go({
    kind: 'PLEDGED',
    term: (view.term.value + 1n) as never,
    phase: 'unfollow',
    raceAtMs: Number.POSITIVE_INFINITY,
  });
}

/** Follows as told: lets readers in once it streams, and notices when it cannot. */
function attached(turn: Turn, _mode: ModeOf<'FOLLOWER'>): void {
  const { sample, open, idleSinceMs } = turn.state.server;
  if (sample === null || !turn.serverReady) return;
  if (sample.receiver.streaming) {
    turn.note(null);
    turn.set({ rewoundFor: null, failures: 0, hadLeader: true });
    if (!open) turn.start('server', 'open', 10_000, { type: 'pg-open', open: true });
    return;
  }
  if (idleSinceMs === null || turn.now - idleSinceMs < 2000) return;
  turn.note('does not stream from the leader');
  const patienceMs = turn.state.rewoundFor === null ? STARVED_MS : REWOUND_STARVED_MS;
  const waits = turn.state.view?.pause !== null || openLeader(turn.state) === null;
  if (turn.now - idleSinceMs > patienceMs && !waits)
    beginClone(turn, 'cannot stream from the leader', lineageNow(turn, sample.timeline));
}

function attach(turn: Turn, mode: ModeOf<'FOLLOWER'>): void {
  const { state } = turn;
  const { view, server, local, config } = state;
  const leader = view?.leader?.record;
  if (view === null || leader === undefined || server.sample === null || !turn.serverReady || !turn.idle('local'))
    return;
  if (leader.term < maxTerm(state))
    return turn.note(`has pledged for term ${maxTerm(state)}, the leader is of ${leader.term}`);
  const member = view.members.get(leader.node);
  const leads = member?.state === 'LEADER_HELD' || member?.state === 'LEADER_OPEN' || member?.state === 'DRAINING';
  if (member === undefined || member.term !== leader.term || !leads || member.forks === undefined) {
    return turn.note(`waiting until ${leader.node} is promoted`);
  }
  if (!mode.settled) return turn.start('server', 'settle', 60_000, { type: 'pg-follow', peer: null });
  const lineage = lineageOf(view.history, local, server.sample.timeline);
  const how = relation(view, config.node, server.sample, lineage, member);
  if (how === 'follow') return follow(turn, leader.term, lineage);
  turn.note(`its data parted from the leader's: ${how} when the leader is open`);
  if (openLeader(state) === null) return;
  // pg_rewind would overwrite what a forced term has given up.
  const rewinds = how === 'rewind' && state.rewoundFor !== leader.term;
  if (rewinds && givenUpBy(view.history, lineage, leader.term) === null) {
    if (member.rewindable !== true) return;
    turn.log('info', 'rejoin.rewind', `rewinds to ${leader.node}`, { term: Number(leader.term) });
    return turn.go({ kind: 'REWINDING', from: peerOf(leader), term: leader.term, base: lineage, phase: 'stop' });
  }
  beginClone(turn, 'its data parted from the leader’s', lineage);
}

function lineageNow(turn: Turn, timeline: number): Term {
  return lineageOf(turn.state.view?.history ?? [], turn.state.local, timeline);
}

function follow(turn: Turn, term: Term, lineage: Term): void {
  const { local, view } = turn.state;
  const leader = view?.leader?.record;
  if (leader === undefined) return;
  if (local.lineageTerm !== term) {
    return turn.saveLocal('lineage', { ...local, lineageTerm: term, baseTerm: lineage });
  }
  turn.start('server', `follow:${term}`, 10_000, { type: 'pg-follow', peer: peerOf(leader) });
}

export function followerDone(turn: Turn, mode: ModeOf<'FOLLOWER'>, answer: Answer): void {
  if (answer.what.startsWith('follow:')) {
    const term = BigInt(answer.what.slice('follow:'.length)) as never;
    turn.setServer({ idleSinceMs: turn.now });
    turn.note(null);
    turn.log('info', 'follows', `follows ${turn.state.view?.leader?.record.node ?? 'the leader'}`, {
      term: Number(term),
    });
    turn.go({ ...mode, attached: term, settled: false });
  } else if (answer.what === 'settle') {
    turn.cancel('sample');
    turn.setServer({ sample: null, sampledAtMs: Number.NEGATIVE_INFINITY });
    turn.go({ ...mode, attached: null, settled: true });
  } else if (answer.what === 'open') turn.setServer({ open: true });
  else if (answer.what === 'orphan') orphanGone(turn, answer);
}
