import type { SimEtcd } from './etcd.ts';
import { jumpAhead, loseTime, sleep, stopClock } from './faults-of-clocks.ts';
import { compact, etcdDown, loseAnswers, stopEtcd } from './faults-of-etcd.ts';
import type { Faults } from './faults.ts';
import type { SimNode } from './node.ts';
import type { SimProxy } from './proxy.ts';

export interface FaultTargets {
  readonly nodes: readonly [SimNode, ...SimNode[]];
  readonly etcd: SimEtcd;
  readonly proxies: readonly SimProxy[];
  readonly ttlMs: number;
}

/** Each fault begins now, says what it does in the trace, and plans its own end. */
export const FAULTS: Readonly<Record<string, (faults: Faults) => void>> = {
  'kill postgres': (f) => f.node().postgres.die('kill -9'),
  'kill the leader': (f) => (f.leader() ?? f.node()).postgres.die('kill -9'),
  'kill agent': (f) => f.killAgent(f.node()),
  'lose an agent for long': (f) => f.loseAgent(f.node()),
  'kill agent and postgres': (f) => f.killBoth(f.someNode()),
  'kill machine': (f) => f.killMachine(f.someNode()),
  'kill watchdog': (f) => f.killWatchdog(f.node()),
  'stop agent': (f) => f.stop([f.someNode().agent]),
  "stop the leader's agent": (f) => f.stop([(f.leader() ?? f.node()).agent]),
  'stop agent and watchdog': (f) => f.stopGuards(f.someNode()),
  'stop postgres': (f) => f.stop([f.someNode().postgres.process]),
  'stop watchdog': (f) => f.stopWatchdog(f.node()),
  'the machine sleeps': sleep,
  'the machine loses time': loseTime,
  'a clock stands still': stopClock,
  'a clock jumps ahead': jumpAhead,
  'cut from etcd': (f) => f.cut(f.someNode().name, 'etcd'),
  'cut from a peer': (f) => f.cut(f.someNode().name, f.node().name),
  isolate: (f) => f.isolate(f.someNode()),
  'stop etcd': stopEtcd,
  'etcd down': etcdDown,
  'lose answers': loseAnswers,
  'etcd compacts': compact,
  switchover: (f) => f.switchover(),
  'lose a quorum for long': (f) => f.loseQuorum(),
  pause: (f) => f.pause(),
  'change the settings': (f) => f.changeSettings(),
  "revoke the leader's lease": (f) => f.revokeLease(),
  'kill at a step': (f) => f.killAtStep(),
  'lose a slot': (f) => f.loseSlot(),
  'disk full': (f) => f.fillDisk(f.someNode()),
  'command failover': (f) => f.someNode().give({ type: 'command', command: 'failover' }),
  'command stop': (f) => f.someNode().give({ type: 'command', command: 'stop' }),
};

/** Where `killAtStep` kills: the named steps of elections, switchovers and rejoining. */
export const STEPS = [
  'PLEDGED/unfollow',
  'PLEDGED/sample',
  'PLEDGED/save',
  'PLEDGED/publish',
  'PLEDGED/ready',
  'CANDIDATE/lease',
  'PROMOTING/prepare',
  'PROMOTING/promote',
  'PROMOTING/sample',
  'PROMOTING/announce',
  'LEADER_HELD/row',
  'LEADER_HELD/open',
  'LEADER_HELD/route',
  'DRAINING/drain',
  'DRAINING/stop',
  'DRAINING/inspect',
  'DRAINING/verify',
  'DRAINING/handover',
  'DEMOTING/stop',
  'DEMOTING/kill',
  'DEMOTING/release',
  'REWINDING/stop',
  'REWINDING/rewind',
  'REWINDING/save',
  'CLONING/clone',
  'CLONING/save',
  'FENCED/start',
] as const;
