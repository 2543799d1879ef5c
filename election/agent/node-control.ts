import { formatLsn, type Lsn } from '../../common/lsn.ts';
import { assertNever } from '../../common/never.ts';
import { type NodeControl, RequestRefused } from '../api.ts';
import { describePause } from '../core/facts.ts';
import { describeLoss, forcedCandidacy } from '../core/forced.ts';
import type { AgentState, Mode } from '../core/state.ts';
import type { PostgresServer } from '../postgres/port.ts';
import type { NodeFaults } from './drill-faults.ts';

export interface ControlledAgent {
  readonly state: AgentState;
  command(command: 'failover' | 'stop'): void;
  force(by: string): void;
}

/** What the node's HTTP API shows and does. */
export function createNodeControl(
  /** Null while it starts. */
  agent: () => ControlledAgent | null,
  postgres: Pick<PostgresServer, 'postmasterPid'>,
  faults: () => NodeFaults | null,
): NodeControl {
  const breaking = (): NodeFaults => {
    const present = faults();
    if (present === null) throw new RequestRefused('the agent is starting');
    present.requireEnabled();
    return present;
  };
  return {
    status() {
      const state = agent()?.state;
      return state === undefined ? { mode: null, note: 'starting' } : statusOf(state, postgres.postmasterPid);
    },

    async crash() {
      breaking();
      const pid = postgres.postmasterPid;
      if (pid === null) throw new RequestRefused('PostgreSQL does not run on this node');
      process.kill(pid, 'SIGKILL');
    },

    async drill(fault, { seconds, what }) {
      if (fault === 'lift') return await faults()?.lift();
      const node = breaking();
      if (fault === 'partition') return node.partition(seconds);
      if (fault === 'freeze') return node.freeze(what, seconds);
      return await node.lag(seconds);
    },

    async failover() {
      const present = agent();
      if (present === null || !leads(present.state.mode)) {
        throw new RequestRefused('this node is not the leader');
      }
      const pause = present.state.view?.pause ?? null;
      if (pause !== null) throw new RequestRefused(`automatic failover is paused ${describePause(pause)}`);
      present.command('failover');
    },

    async force(by) {
      const present = agent();
      const view = present?.state.view ?? null;
      if (present === null || view === null) throw new RequestRefused('this agent has not heard from etcd yet');
      const { config, mode, leaderSeen } = present.state;
      const forced = forcedCandidacy(view, config.node);
      if (forced.kind === 'no') throw new RequestRefused(forced.why);
      if (mode.kind !== 'PLEDGED' && mode.kind !== 'CANDIDATE') throw new RequestRefused(`this node is ${mode.kind}`);
      const term = Number(view.term.value) + 1;
      present.force(by);
      return { term, loss: describeLoss(view, config.node, leaderSeen) };
    },
  };
}

/** The member record as etcd has it, and what the core goes by; LSNs and terms as text. */
export function statusOf(state: AgentState, postgresPid: number | null): unknown {
  const { config, mode, server, view, published, local, note } = state;
  return toPlain({
    node: config.node,
    cluster: config.cluster,
    address: config.address,
    bootId: config.bootId,
    agentPid: config.agentPid,
    postgresPid,
    note,
    member: published === null ? null : (JSON.parse(published.text) as unknown),
    mode,
    local,
    data: server.data,
    sample: server.sample,
    store:
      view === null ? null : { revision: view.revision, term: view.term.value, leader: view.leader, sync: view.sync },
    pending: Object.values(state.pending).map(({ what }) => what),
  });
}

/** JSON has no bigint, Map or Infinity. A bigint whose name ends in `lsn` becomes PostgreSQL's text, any other decimal. */
export function toPlain(value: unknown, name = ''): unknown {
  if (typeof value === 'bigint') return /lsn$/i.test(name) ? formatLsn(value as Lsn) : value.toString();
  if (value instanceof Map) return toPlain(Object.fromEntries(value));
  if (Array.isArray(value)) return value.map((item) => toPlain(item, name));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, child]) => [key, toPlain(child, key)]));
}

function leads(mode: Mode): boolean {
  switch (mode.kind) {
    case 'PROMOTING':
    case 'LEADER_HELD':
    case 'LEADER_OPEN':
    case 'DRAINING':
    case 'DEMOTING':
      return true;
    case 'INIT':
    case 'CLONING':
    case 'FOLLOWER':
    case 'PLEDGED':
    case 'CANDIDATE':
    case 'FENCED':
    case 'REWINDING':
      return false;
    default:
      return assertNever(mode, 'mode');
  }
}
