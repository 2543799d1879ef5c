import { setTimeout as sleep } from 'node:timers/promises';
import type { ApiClient, ClusterStatus } from '../api-client.ts';
import { clockTime } from '../format/events.ts';
import { formatBytes, formatMs } from '../format/table.ts';
import { type ApiOptions, openApi, print, stopSignal } from './context.ts';
import { statusText } from './status.ts';

export interface MonitorOptions extends ApiOptions {
  readonly interval: number;
  readonly count?: number;
}

/** A live table on a terminal; elsewhere one line a sample. Goes on while the API is away, and says so. */
export async function monitorCommand(options: MonitorOptions): Promise<void> {
  const api = openApi(options);
  const signal = stopSignal();
  const isTerminal = process.stdout.isTTY === true;
  // The alternate screen: what was on the terminal before is there again afterwards.
  if (isTerminal) process.stdout.write('\x1b[?1049h\x1b[?25l');
  try {
    for (let samples = 0; samples < (options.count ?? Infinity) && !signal.aborted; samples++) {
      if (samples > 0) await sleep(options.interval, undefined, { signal }).catch(() => {});
      if (signal.aborted) break;
      const text = await sampleText(api, isTerminal, signal);
      if (isTerminal) process.stdout.write(`\x1b[H\x1b[2J${text}\n`);
      else print(text);
    }
  } finally {
    if (isTerminal) process.stdout.write('\x1b[?25h\x1b[?1049l');
  }
}

async function sampleText(api: ApiClient, isTerminal: boolean, signal: AbortSignal): Promise<string> {
  const time = clockTime(Date.now());
  try {
    const status = await api.status(signal);
    return isTerminal ? `${time}  ${api.url}  (Ctrl-C ends)\n\n${statusText(status)}` : sampleLine(time, status);
  } catch (error) {
    return signal.aborted ? '' : `${time} ${(error as Error).message}`;
  }
}

/** `12:00:00.000 term=3 leader=node1 open node2=0 B/12 ms node3=…`; exported for its test. */
export function sampleLine(time: string, status: ClusterStatus): string {
  const followers = status.nodes
    .filter((node) => node.node !== status.leader?.node)
    .map((node) => {
      const lag = node.lagBytes === null ? '?' : formatBytes(node.lagBytes).replace(' ', '');
      const freshness = node.freshnessMs === null ? '?' : formatMs(node.freshnessMs).replace(' ', '');
      return `${node.node}=${node.usable ? '' : `${node.state}:`}${lag}/${freshness}`;
    });
  const held = status.proxies.reduce((sum, proxy) => sum + proxy.heldWrites, 0);
  const route = status.route !== null && !status.route.hold && status.writable ? 'open' : 'held';
  return [
    time,
    `term=${status.term}`,
    `leader=${status.leader?.node ?? '-'}`,
    route,
    `heldWrites=${held}`,
    ...followers,
  ].join(' ');
}
