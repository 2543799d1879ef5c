import type { DrillKind } from '../../common/config/drills.ts';
import { isWithin } from './schedule.ts';
import type { DrillFacts, GuardResult, NodeFacts } from './types.ts';

/** Names of the guards, with what each looks at. All but those in `FIXED` can be overridden. */
export const GUARDS: Readonly<Record<string, string>> = {
  enabled: 'the setting drills.enabled',
  leader: 'there is a leader and writes are open',
  target: 'what the drill is to happen to is there',
  seconds: 'the fault may last that long (drills.maxSeconds)',
  maintenance: 'neither the cluster nor its clients are paused',
  nodes: 'every node is in step',
  quorum: 'enough synchronous followers stream to take over',
  lag: 'the followers are close behind (drills.maxLagBytes, drillMaxLagBytes of the cluster)',
  transactions: 'no long transaction is open (drills.maxTransactionMs), none is prepared',
  ddl: 'no DDL is running',
  backup: 'no base backup is running',
  rewind: 'an old leader can be rewound: wal_log_hints or checksums, full_page_writes, a checkpoint of this term',
  window: 'it is the time of day for drills (drillWindow of the cluster)',
  recent: 'the last drill is over for long enough (drills.spacingMs)',
};

const FIXED = new Set(['enabled', 'leader', 'target', 'seconds']);

interface Finding {
  readonly name: string;
  /** Null: nothing is wrong. */
  readonly wrong: string | null;
  readonly right: string;
}

/** What would keep a drill from running. Pure; `target` is the finding of whoever chose it. */
export function checkGuards(
  kind: DrillKind,
  facts: DrillFacts,
  target: Finding,
  seconds: number | null,
  override: readonly string[],
): GuardResult[] {
  const findings = [enabled(facts), leader(facts), target, duration(facts, seconds), maintenance(facts), nodes(facts)];
  if (leaderMoves(kind)) {
    findings.push(quorum(facts), lag(facts));
    // Without a leader there is nobody to ask, and `leader` refuses anyway.
    if (leader(facts).wrong === null) {
      findings.push(transactions(facts), ddl(facts), backup(facts));
      if (kind !== 'switchover') findings.push(rewind(facts));
    }
  }
  findings.push(window(facts), recent(facts));
  return findings.map(({ name, wrong, right }) => {
    const overridable = !FIXED.has(name);
    const overridden = wrong !== null && overridable && override.includes(name);
    return { name, passed: wrong === null, overridden, overridable, message: wrong ?? right };
  });
}

/** Whether another node may lead afterwards. */
export function leaderMoves(kind: DrillKind): boolean {
  return kind !== 'lag' && kind !== 'proxy';
}

function enabled({ limits }: DrillFacts): Finding {
  return { name: 'enabled', wrong: limits.enabled ? null : 'drills are turned off (drills.enabled)', right: 'on' };
}

function leader({ leader: name, writable, held }: DrillFacts): Finding {
  let wrong: string | null = null;
  if (name === null) wrong = 'the cluster has no leader';
  else if (held) wrong = 'a failover or switchover is under way';
  else if (!writable) wrong = `writes to ${name} are not open through this proxy: its lease is not confirmed`;
  return { name: 'leader', wrong, right: `${name} leads and writes are open` };
}

function duration({ limits }: DrillFacts, seconds: number | null): Finding {
  const wrong =
    seconds !== null && seconds > limits.maxSeconds
      ? `${seconds} s is longer than drills.maxSeconds (${limits.maxSeconds}) allows`
      : null;
  return { name: 'seconds', wrong, right: seconds === null ? 'the fault is over at once' : `${seconds} s` };
}

function maintenance({ maintenance: isPaused, clientsPaused }: DrillFacts): Finding {
  let wrong: string | null = null;
  if (isPaused) wrong = 'the cluster is paused: nobody would take over';
  else if (clientsPaused) wrong = 'clients of this proxy are paused (PAUSE): the canary would wait with them';
  return { name: 'maintenance', wrong, right: 'nothing is paused' };
}

function nodes(facts: DrillFacts): Finding {
  const ill = facts.nodes.filter((node) => node.node !== facts.leader && !(node.usable && node.streaming));
  const text = ill.map((node) => `${node.node} is ${node.state}${node.note === null ? '' : ` (${node.note})`}`);
  return {
    name: 'nodes',
    wrong: text.length === 0 ? null : `not in step: ${text.join('; ')}`,
    right: `${facts.nodes.length} nodes in step`,
  };
}

function quorum({ sync, leader: name, nodes: all }: DrillFacts): Finding {
  const finding = (wrong: string | null, right = ''): Finding => ({ name: 'quorum', wrong, right });
  if (sync === null) return finding('etcd has no durability record');
  if (sync.k === 0 || sync.members.length === 0) {
    return finding(`${name} has no synchronous follower: the cluster would be left without a leader`);
  }
  const standing = sync.members.filter((member) => all.some((node) => node.node === member && node.streaming));
  // A candidate needs the pledges of |S| − k + 1 members (S3).
  const needed = sync.members.length - sync.k + 1;
  const said = `${standing.length} of ${sync.members.join(', ')} stream from the leader, ${needed} must`;
  return standing.length >= needed ? finding(null, said) : finding(said);
}

function lag({ nodes: all, leader: name, limits }: DrillFacts): Finding {
  const late = all.filter((node) => node.node !== name && node.usable && (node.lagBytes ?? 0) > limits.maxLagBytes);
  const wrong = late.map((node) => `${node.node} is ${node.lagBytes} bytes behind`).join('; ');
  return {
    name: 'lag',
    wrong: wrong === '' ? null : `${wrong}: it must replay that before it serves (limit ${limits.maxLagBytes})`,
    right: 'the followers are close behind',
  };
}

function transactions({ server, serverProblem, limits }: DrillFacts): Finding {
  const finding = (wrong: string | null): Finding => ({
    name: 'transactions',
    wrong,
    right: `none is older than ${limits.maxTransactionMs / 1000} s`,
  });
  if (server === null) return finding(`the leader could not be asked: ${serverProblem}`);
  const old = server.transactions.map((one) => `pid ${one.pid} (${one.user}) for ${Math.round(one.seconds)} s`);
  if (server.prepared > 0) old.push(`${server.prepared} prepared (pg_prepared_xacts)`);
  return finding(old.length === 0 ? null : `open transactions that would be cut: ${old.join(', ')}`);
}

function ddl({ server, serverProblem }: DrillFacts): Finding {
  const finding = (wrong: string | null): Finding => ({ name: 'ddl', wrong, right: 'none is running' });
  if (server === null) return finding(`the leader could not be asked: ${serverProblem}`);
  const running = server.ddl.map((one) => `pid ${one.pid}: ${one.what}`).join(', ');
  return finding(running === '' ? null : `running: ${running}`);
}

function backup({ server, serverProblem }: DrillFacts): Finding {
  const finding = (wrong: string | null): Finding => ({ name: 'backup', wrong, right: 'none is running' });
  if (server === null) return finding(`the leader could not be asked: ${serverProblem}`);
  return finding(server.backups === 0 ? null : `${server.backups} base backups read from the leader and would fail`);
}

function rewind({ server, serverProblem, nodes: all, leader: name }: DrillFacts): Finding {
  const finding = (wrong: string | null): Finding => ({ name: 'rewind', wrong, right: 'pg_rewind has what it needs' });
  if (server === null) return finding(`the leader could not be asked: ${serverProblem}`);
  const missing: string[] = [];
  if (!server.rewindHints) missing.push('neither wal_log_hints nor data checksums are on');
  if (!server.fullPageWrites) missing.push('full_page_writes is off');
  if (leaderOf(all, name)?.rewindable === false) missing.push('the leader has yet to checkpoint in its term');
  return finding(missing.length === 0 ? null : `${missing.join('; ')}: the old leader may have to be cloned anew`);
}

function leaderOf(all: readonly NodeFacts[], name: string | null): NodeFacts | undefined {
  return all.find((node) => node.node === name);
}

function window({ atMs, limits }: DrillFacts): Finding {
  const outside = limits.window !== null && !isWithin(limits.window, new Date(atMs));
  return {
    name: 'window',
    wrong: outside
      ? `it is ${new Date(atMs).toISOString().slice(11, 16)} UTC; drills may run ${limits.window} (drillWindow)`
      : null,
    right: limits.window ?? 'at any time',
  };
}

function recent({ past, atMs, limits }: DrillFacts): Finding {
  const [last] = past;
  const agoMs = last === undefined ? Infinity : atMs - last.endedAtMs;
  const wrong =
    last !== undefined && agoMs < limits.spacingMs
      ? `${last.kind} (${last.id}) ended ${Math.max(0, Math.round(agoMs / 1000))} s ago; drills.spacingMs is ${limits.spacingMs}`
      : null;
  return { name: 'recent', wrong, right: last === undefined ? 'no drill so far' : 'the last one is long over' };
}
