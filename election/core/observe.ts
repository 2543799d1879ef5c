import { NO_LSN, NO_TERM, type Term } from '../../common/lsn.ts';
import { encodeRecord, type MemberRecord, memberRecord } from '../store/records.ts';
import type { ClusterView } from './cluster-view.ts';
import { lacksFollowers, streamingByConsent } from './facts.ts';
import type { LeaderSeen } from './forced.ts';
import { seenWithoutLease } from './orphan.ts';
import { rulesOf } from './rules.ts';
import { termOf } from './state.ts';
import type { Answer, Turn } from './turn.ts';
import type { Input } from './types.ts';

const PUBLISH_EVERY_MS = 200;
const URGENT_EVERY_MS = 20;
const FORKS_KEPT = 32;
const MEMBER_RETRY_MS = 300;
const SLOTS_RETRY_MS = 2000;
const SLOTS_AGAIN_MS = 10_000;
const EXIT_LATE_MS = 10;
/** An operator waits for what they asked for; it does not happen later, when things may have changed. */
const CONSENT_MS = 10_000;

/** Takes in what an input says of the world, before the mode reacts to it. */
export function observe(turn: Turn, input: Input): void {
  switch (input.type) {
    case 'cluster': {
      const { view } = input;
      if (turn.state.view !== null && view.revision < turn.state.view.revision) return;
      const gone = view.leaderCreateRevision === 0 ? (turn.state.leaderGoneSinceMs ?? turn.now) : null;
      const leaderWithoutLease = seenWithoutLease(turn, view.leaderWithoutLease);
      const leaderSeen = leaderIn(view) ?? turn.state.leaderSeen;
      turn.set({ view, leaderGoneSinceMs: gone, leaderWithoutLease, leaderSeen });
      return;
    }
    case 'command': {
      const { view } = turn.state;
      if (input.command !== 'force' || view === null) return;
      const term = (view.term.value + 1n) as Term;
      turn.log('warn', 'force.consented', `${input.by} consents to a loss of data for term ${term}`, { by: input.by });
      turn.set({ consent: { term, by: input.by, untilMs: turn.now + CONSENT_MS } });
      return;
    }
    case 'postgres-exit':
      turn.cancel('row', 'sync', 'slots', 'checkpoint', 'sample');
      turn.setServer({ running: false, open: false, sample: null, diedStarting: diesStarting(turn) });
      return;
    default:
      return;
  }
}

/** The exit and the answer to a start may come in either order; that of the server before it came with its end, before this began. */
function diesStarting(turn: Turn): boolean {
  const { server } = turn.state.pending;
  const starting = server?.what.startsWith('start:') === true && turn.now - server.sinceMs > EXIT_LATE_MS;
  return starting || turn.state.server.diedStarting;
}

/** Where the leader says that it stands; null where there is none, or it has not written anything yet. */
function leaderIn(view: ClusterView): LeaderSeen | null {
  const leader = view.leader?.record;
  const member = leader === undefined ? undefined : view.members.get(leader.node);
  if (leader === undefined || member?.term !== leader.term || member.flushedLsn === NO_LSN) return null;
  return { node: leader.node, term: leader.term, flushedLsn: member.flushedLsn };
}

/** Answers that no mode cares about. True: dealt with. */
export function settleCommon(turn: Turn, answer: Answer): boolean {
  const { outcome } = answer;
  switch (answer.lane) {
    case 'sample':
      if (answer.what !== 'regular') return false;
      takeSample(turn, answer);
      return true;
    case 'slots':
      if (outcome === null) turn.set({ slots: null, slotsRetryAtMs: turn.now + SLOTS_RETRY_MS });
      return true;
    case 'member-lease':
      settleMemberLease(turn, answer);
      return true;
    case 'member-put':
      if (outcome === null) turn.set({ published: null, memberRetryAtMs: turn.now + MEMBER_RETRY_MS });
      return true;
    case 'revoke':
      return true;
    case 'local':
      if (outcome !== null) turn.set({ local: turn.state.savingLocal ?? turn.state.local });
      return answer.what === 'confirm';
    default:
      return false;
  }
}

export function takeSample(turn: Turn, { outcome, sinceMs }: Answer): void {
  const sample = outcome?.type === 'sample' ? outcome.sample : null;
  const idleSinceMs = sample === null || sample.receiver.streaming ? null : (turn.state.server.idleSinceMs ?? turn.now);
  turn.setServer({ sample, sampledAtMs: turn.now, askedAtMs: sinceMs, idleSinceMs });
  const { mode } = turn.state;
  if (sample === null || !('lead' in mode)) return;
  const streaming = new Set(streamingByConsent(turn.state).map((s) => s.node));
  const { recorded, missingSinceMs } = mode.lead;
  const missing = recorded.members
    .filter((m) => !streaming.has(m))
    .map((m) => [m, missingSinceMs.get(m) ?? turn.now] as const);
  turn.setLead({ aliveAtMs: turn.now, missingSinceMs: new Map(missing) });
}

/** What every node does whatever its mode: its key, its samples, its slots. */
export function keepHouse(turn: Turn): void {
  const { mode } = turn.state;
  if (mode.kind === 'FENCED' && mode.phase !== 'start') return;
  keepMemberLease(turn);
  publish(turn);
  sampleRegularly(turn);
  keepSlots(turn);
  confirmBootstrap(turn);
}

function keepMemberLease(turn: Turn): void {
  const { memberLease, config, view } = turn.state;
  if (view === null || !turn.idle('member-lease')) return;
  if (memberLease === null) {
    if (turn.now >= turn.state.memberRetryAtMs)
      turn.start('member-lease', 'grant', 1000, { type: 'grant-lease', ttlMs: config.ttlMs });
    return;
  }
  if (turn.now - memberLease.renewedAtMs < config.ttlMs / 3 || turn.now < turn.state.memberRetryAtMs) return;
  turn.start('member-lease', 'renew', 1000, { type: 'keep-alive', lease: memberLease.id });
}

function settleMemberLease(turn: Turn, { outcome }: Answer): void {
  const { memberLease, config } = turn.state;
  if (outcome?.type === 'lease') {
    turn.set({ memberLease: { id: outcome.lease, renewedAtMs: outcome.sentAtMs }, published: null });
  } else if (outcome?.type === 'kept' && outcome.ttlMs > 0 && memberLease !== null) {
    turn.set({ memberLease: { ...memberLease, renewedAtMs: outcome.sentAtMs } });
  } else if (outcome?.type === 'kept') {
    turn.set({ memberLease: null, published: null });
  } else {
    const expired = memberLease !== null && turn.now - memberLease.renewedAtMs > 2 * config.ttlMs;
    turn.set({
      memberRetryAtMs: turn.now + MEMBER_RETRY_MS,
      ...(expired ? { memberLease: null, published: null } : {}),
    });
  }
}

/** The node's own record as it stands. */
export function ownMember(turn: Turn): MemberRecord {
  const { config, mode, server, local, note } = turn.state;
  const { sample } = server;
  const leads = 'lead' in mode ? mode.lead : null;
  return {
    node: config.node,
    address: config.address,
    apiUrl: config.apiUrl,
    state: mode.kind,
    term: termOf(mode),
    timeline: sample?.timeline ?? leads?.timeline ?? 0,
    flushedLsn: sample?.flushedLsn ?? NO_LSN,
    replayedLsn: sample?.replayedLsn ?? NO_LSN,
    streaming: sample?.receiver.streaming ?? false,
    systemId: sample?.systemId ?? (server.data?.kind === 'data' ? server.data.systemId : null),
    postgresVersion: sample?.version ?? null,
    postgresPid: sample?.pid ?? null,
    agentPid: config.agentPid,
    priority: config.priority,
    noFailover: config.noFailover,
    rules: { version: turn.state.view?.settings?.version ?? 0, ...rulesOf(turn.state) },
    ...(leads !== null && sample !== null && !sample.inRecovery
      ? { forks: sample.history.slice(-FORKS_KEPT), rewindable: leads.rewindable }
      : {}),
    ...(mode.kind === 'LEADER_HELD' && mode.phase !== 'row' && lacksFollowers(turn.state, mode.lead)
      ? { confirmed: true }
      : {}),
    note: local.bootstrapping && note === null ? 'making the cluster' : note,
  };
}

function publish(turn: Turn): void {
  const { memberLease, published, view, config } = turn.state;
  if (memberLease === null || view === null || !turn.idle('member-put')) return;
  if (turn.now < turn.state.memberRetryAtMs) return;
  if (published !== null && turn.now - published.atMs < URGENT_EVERY_MS) return;
  const record = ownMember(turn);
  const text = encodeRecord(memberRecord, record);
  const lost = published !== null && turn.now - published.atMs > 1000 && !view.members.has(config.node);
  if (published?.text === text && !lost) return;
  // Positions alone may wait; a change of state, and everything while a hold stops the writes, may not.
  const before = view.members.get(config.node);
  const changed = (name: 'state' | 'term' | 'streaming') => before?.[name] !== record[name];
  const urgent = view.route?.hold === true || changed('state') || changed('term') || changed('streaming');
  if (published !== null && turn.now - published.atMs < (urgent ? URGENT_EVERY_MS : PUBLISH_EVERY_MS)) return;
  turn.set({ published: { text, atMs: turn.now } });
  const put = { type: 'put', key: turn.keys.member(config.node), value: text, lease: memberLease.id } as const;
  turn.transact('member-put', 'member', 1000, { compare: [], then: [put] });
}

function sampleRegularly(turn: Turn): void {
  const { mode, server, view } = turn.state;
  if (!server.running || !turn.idle('sample', 'kill')) return;
  if (mode.kind === 'PLEDGED' && mode.phase === 'sample') return;
  if (mode.kind === 'PROMOTING' && mode.phase === 'sample') return;
  // A planned switchover waits for the target's position; elsewhere samples would only take time from what is urgent.
  const handsOver = view?.route?.hold === true && view.switchover !== null;
  const busy = handsOver || ('lead' in mode && mode.lead.barrier !== null);
  if (turn.now - server.sampledAtMs < (busy ? 20 : 200)) return;
  turn.start('sample', 'regular', 1000, { type: 'pg-sample' });
}

/**
 * A slot of its term for every other node where this one leads, beside the promotion; none elsewhere. Who follows another
 * term, without its agent knowing better, finds no slot, whatever the timelines' numbers say.
 */
function keepSlots(turn: Turn): void {
  const { mode, server, view, config, slots } = turn.state;
  const leads = mode.kind === 'PROMOTING' || mode.kind === 'LEADER_HELD' || mode.kind === 'LEADER_OPEN';
  if (!server.running || server.sample === null || view === null || !turn.idle('slots', 'kill')) return;
  if (!leads && (mode.kind !== 'FOLLOWER' || !turn.idle('server'))) return;
  // A node that is away for a moment keeps its slot: only additions count, until a leader drops what is gone for long.
  const others = [...view.members.keys()].filter((n) => n !== config.node);
  const nodes = leads ? [...new Set([...(slots?.nodes ?? []), ...others])].sort() : [];
  const term = leads ? mode.lead.term : NO_TERM;
  const text = `${server.sample.pid}:${term}:${nodes.join()}`;
  // The slot of one who was away for too long is lost, and only a new one lets it in again, whatever it has done meanwhile.
  const away = nodes.some((node) => server.sample?.standbys.every((s) => s.node !== node));
  const kept = slots?.text === text && !(away && turn.now - slots.atMs > SLOTS_AGAIN_MS);
  if (kept || turn.now < turn.state.slotsRetryAtMs) return;
  turn.set({ slots: { text, nodes, atMs: turn.now } });
  turn.start('slots', 'slots', 10_000, { type: 'pg-ensure-slots', term, nodes });
}

function confirmBootstrap(turn: Turn): void {
  const { local, view, server } = turn.state;
  if (!local.bootstrapping || !turn.idle('local') || view === null || view.system === null) return;
  const systemId = server.sample?.systemId ?? null;
  if (systemId !== view.system.systemId) return;
  turn.saveLocal('confirm', { ...local, bootstrapping: false });
}
