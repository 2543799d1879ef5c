import { z } from 'zod';
import { LeaseholdError } from '../../common/errors.ts';
import type { ClusterStatus } from '../api-client.ts';
import { formatTable } from '../format/table.ts';
import { type ApiOptions, openApi, print, stopSignal, whoAsks } from './context.ts';

const settingsAnswer = z.looseObject({ version: z.number(), settings: z.record(z.string(), z.unknown()) });

/** What each node goes by, and what the cluster sets. */
export async function configShowCommand(options: ApiOptions & { readonly json?: boolean }): Promise<void> {
  const api = openApi(options);
  if (options.json) return print(JSON.stringify(await api.get('/settings'), null, 2));
  print(settingsText(await api.status()));
}

/** `name=value …`: for every agent of the cluster, at once. */
export async function configSetCommand(assignments: readonly string[], options: ApiOptions): Promise<void> {
  await change(Object.fromEntries(assignments.map(assignment)), options);
}

/** Back to what each node's own file says. */
export async function configUnsetCommand(names: readonly string[], options: ApiOptions): Promise<void> {
  await change(Object.fromEntries(names.map((name) => [plainName(name), null])), options);
}

async function change(changes: Readonly<Record<string, unknown>>, options: ApiOptions): Promise<void> {
  const answer = await openApi(options).post('/settings', { ...changes, by: whoAsks() }, stopSignal());
  const { version, settings } = settingsAnswer.parse(answer);
  print(
    `version ${version} of the cluster's settings: ${assigned(settings) || 'none, each node goes by its own file'}`,
  );
}

/** `cluster.syncAcks=2` and `syncAcks=2` are the same. A number is one. Exported for its test. */
export function assignment(text: string): [name: string, value: string | number] {
  const at = text.indexOf('=');
  if (at < 1) throw new LeaseholdError('USAGE', `"${text}" is not name=value, such as syncAcks=2`);
  const value = text.slice(at + 1);
  return [plainName(text.slice(0, at)), /^\d+$/.test(value) ? Number(value) : value];
}

function plainName(name: string): string {
  return name.replace(/^cluster\./, '');
}

/** Exported for its test. */
export function settingsText({ settings, nodes }: ClusterStatus): string {
  const whole =
    settings === null
      ? 'no settings of the whole cluster: each node goes by its own file'
      : `cluster-wide: ${assigned(settings.settings) || 'nothing'} (version ${settings.version}, by ${settings.by} at ${settings.at})`;
  const known = nodes.filter((node) => node.rules !== null);
  const names = [...new Set(known.flatMap((node) => Object.keys(node.rules ?? {})))];
  const rows = known.map((node) => [node.node, ...names.map((name) => String(node.rules?.[name] ?? ''))]);
  const differ = new Set(rows.map(([, ...values]) => values.join())).size > 1;
  const lines = [whole, '', formatTable(['node', ...names], rows)];
  if (differ)
    lines.push('', 'The nodes differ: what counts depends on who leads. "leasehold config set" makes them agree.');
  return lines.join('\n');
}

function assigned(settings: Readonly<Record<string, unknown>>): string {
  return Object.entries(settings)
    .map(([name, value]) => `${name}=${String(value)}`)
    .join(', ');
}
