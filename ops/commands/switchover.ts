import { setTimeout as sleep } from 'node:timers/promises';
import { LeaseholdError } from '../../common/errors.ts';
import type { ApiClient, ClusterStatus } from '../api-client.ts';
import { formatMs } from '../format/table.ts';
import { type ApiOptions, openApi, print, stopSignal } from './context.ts';

export interface ChangeOptions extends ApiOptions {
  readonly to?: string;
  /** Seconds. */
  readonly timeout: number;
}

const POLL_MS = 20;

/** A planned change of the leader: asks for it, follows it, tells how long writes stood still. */
export async function switchoverCommand(options: ChangeOptions): Promise<void> {
  const api = openApi(options);
  const signal = stopSignal();
  const before = await api.status(signal);
  checkTarget(before, options.to);
  const startedMs = performance.now();
  await api.post('/switchover', options.to === undefined ? {} : { to: options.to }, signal);
  const { leader, term, heldMs } = await followChange(api, before, options.timeout * 1000, signal);
  if (leader === before.leader?.node) {
    throw new LeaseholdError(
      'SWITCHOVER',
      `the switchover was given up: ${leader} still leads. Its log, and "leasehold status", say why`,
    );
  }
  print(`${before.leader?.node ?? '(none)'} → ${leader}, term ${term}, in ${formatMs(performance.now() - startedMs)}`);
  print(
    heldMs === null
      ? 'writes were held for less than a look at the status takes'
      : `writes were held for about ${formatMs(heldMs)}`,
  );
}

/** Refused here, before anything is asked: the message can name the nodes. Exported for its test. */
export function checkTarget(status: ClusterStatus, to: string | undefined): void {
  if (to === undefined) return;
  const followers = status.nodes.filter((node) => node.role === 'follower').map((node) => node.node);
  if (to === status.leader?.node) throw new LeaseholdError('USAGE', `${to} is the leader already`);
  if (!followers.includes(to)) {
    throw new LeaseholdError(
      'USAGE',
      `${to} is no follower of this cluster; followers are ${followers.join(', ') || '(none)'}`,
    );
  }
}

interface Change {
  readonly leader: string;
  readonly term: number;
  /** From the first look that found writes held to the first that found them open again. */
  readonly heldMs: number | null;
}

/** Until writes are open in a newer term, or open again in the old one after they were held. */
export async function followChange(
  api: ApiClient,
  before: ClusterStatus,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<Change> {
  const deadline = performance.now() + timeoutMs;
  let heldSinceMs: number | null = null;
  let lastHeldMs: number | null = null;
  while (performance.now() < deadline) {
    await sleep(POLL_MS, undefined, { signal });
    // The proxy that is asked answers throughout; one look that fails is no news of the cluster.
    const now = await api.status(signal).catch(() => null);
    if (now === null) continue;
    const isOpen = now.route !== null && !now.route.hold && now.writable;
    if (!isOpen) {
      heldSinceMs ??= performance.now();
      lastHeldMs = performance.now();
    } else if (
      (now.term ?? 0) > (before.term ?? 0) ||
      (heldSinceMs !== null && performance.now() - (lastHeldMs ?? 0) > 1000)
    ) {
      const heldMs = heldSinceMs === null ? null : (lastHeldMs ?? heldSinceMs) - heldSinceMs + POLL_MS;
      return { leader: now.leader?.node ?? '?', term: now.term ?? 0, heldMs };
    }
  }
  throw new LeaseholdError('TIMEOUT', `no new leader within ${timeoutMs / 1000} s: see "leasehold status"`);
}
