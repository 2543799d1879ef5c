import { z } from 'zod';
import { LeaseholdError } from '../../common/errors.ts';
import type { ApiClient } from '../api-client.ts';
import { formatMs } from '../format/table.ts';
import { openApi, print, stopSignal, whoAsks } from './context.ts';
import { type ChangeOptions, followChange } from './switchover.ts';

export interface FailoverOptions extends ChangeOptions {
  readonly allowDataLoss?: boolean;
  readonly node?: string;
}

const forcedAnswer = z.looseObject({ term: z.number(), loss: z.string() });

/**
 * Asks the leader to give up its lease at once: an unplanned change, for when a planned one is refused. With
 * `--allow-data-loss --node X` instead: where nobody can be promoted without a loss, X is.
 */
export async function failoverCommand(options: FailoverOptions): Promise<void> {
  const node = forcedNode(options);
  const api = openApi(options);
  const signal = stopSignal();
  const before = await api.status(signal);
  const startedMs = performance.now();
  if (node === null) await api.post('/failover', {}, signal);
  else await force(api, node, signal);
  const { leader, term, heldMs } = await followChange(api, before, options.timeout * 1000, signal);
  if (node !== null && leader !== node) {
    throw new LeaseholdError('FAILOVER', `${leader} leads term ${term}: it was elected before ${node} could be forced`);
  }
  print(`${before.leader?.node ?? '(none)'} → ${leader}, term ${term}, in ${formatMs(performance.now() - startedMs)}`);
  if (node !== null) {
    print('"leasehold history" keeps what was given up; a node that has more keeps its data aside when it returns');
  } else if (heldMs !== null) print(`writes were held for about ${formatMs(heldMs)}`);
}

/** The node that shall lead by force; null: none. Consent and name go together. Exported for its test. */
export function forcedNode(options: Pick<FailoverOptions, 'allowDataLoss' | 'node'>): string | null {
  const { allowDataLoss = false, node } = options;
  if (!allowDataLoss && node !== undefined) {
    throw new LeaseholdError(
      'USAGE',
      `--node goes with --allow-data-loss, for when nobody can be promoted without a loss. To move the leader: leasehold switchover --to ${node}`,
    );
  }
  if (allowDataLoss && node === undefined) {
    throw new LeaseholdError(
      'USAGE',
      '--allow-data-loss needs --node: which node shall lead, with what it holds. "leasehold status" says which holds the most',
    );
  }
  return node ?? null;
}

async function force(api: ApiClient, node: string, signal: AbortSignal): Promise<void> {
  const answer = await api.post('/failover', { allowDataLoss: true, node, by: whoAsks() }, signal);
  const { term, loss } = forcedAnswer.parse(answer);
  print(`${node} is to lead term ${term}. Known of the loss: ${loss}`);
}
