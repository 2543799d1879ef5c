import { setTimeout as sleep } from 'node:timers/promises';
import type { ApiClient, ClusterStatus, NodeStatus } from '../api-client.ts';

export interface ReadinessOptions {
  readonly api: ApiClient;
  readonly nodes: readonly string[];
  readonly report: (line: string) => void;
  readonly signal: AbortSignal;
  /** How long to wait for the followers once there is a leader. */
  readonly followersMs?: number;
}

/** Whether every follower was there in time. */
export type Readiness = 'all' | 'without-all-followers';

/**
 * Waits until the route is open and the followers follow, telling each node's steps as they happen. Waits for a
 * leader as long as it takes: `signal` ends it, and a child that keeps failing is told elsewhere.
 */
export async function awaitReady(options: ReadinessOptions): Promise<Readiness> {
  const told = new Map<string, string>();
  let leaderSinceMs: number | null = null;
  for (;;) {
    options.signal.throwIfAborted();
    const status = await options.api.status(options.signal).catch(() => null);
    options.signal.throwIfAborted();
    if (status !== null) {
      tellSteps(status, told, options.report);
      const isOpen = status.leader !== null && status.route !== null && !status.route.hold && status.writable;
      if (isOpen && allFollow(status, options.nodes)) return 'all';
      leaderSinceMs = isOpen ? (leaderSinceMs ?? performance.now()) : null;
      if (leaderSinceMs !== null && performance.now() - leaderSinceMs > (options.followersMs ?? 60_000)) {
        return 'without-all-followers';
      }
    }
    await sleep(100, undefined, { signal: options.signal });
  }
}

/** One line a step and node; exported for its test. */
export function tellSteps(status: ClusterStatus, told: Map<string, string>, report: (line: string) => void): void {
  for (const node of status.nodes) {
    const step = stepOf(node, status);
    if (step === null || told.get(node.node) === step) continue;
    told.set(node.node, step);
    report(`${node.node}: ${step}`);
  }
}

function stepOf({ state, role, note }: NodeStatus, status: ClusterStatus): string | null {
  switch (state) {
    case 'INIT':
      return note ?? 'starting';
    case 'CLONING':
      return `cloning ${status.leader?.node ?? 'the leader'}`;
    case 'REWINDING':
      return 'rewinding to the leader';
    case 'PROMOTING':
      return 'becoming leader';
    case 'LEADER_HELD':
      return 'leader, waiting for a follower to confirm';
    case 'LEADER_OPEN':
      return `leader of term ${status.term}`;
    case 'FOLLOWER':
      return role === 'follower' ? 'follower, streaming' : null;
    default:
      return null;
  }
}

function allFollow(status: ClusterStatus, nodes: readonly string[]): boolean {
  return nodes.every((name) => {
    const node = status.nodes.find((candidate) => candidate.node === name);
    return node !== undefined && (node.node === status.leader?.node || (node.role === 'follower' && node.usable));
  });
}
