import { readdirSync, readFileSync } from 'node:fs';

/** One look at the proxy process. */
export interface Sample {
  readonly atMs: number;
  readonly rssMb: number;
  readonly heapMb: number;
  readonly externalMb: number;
  /** File descriptors but those of clients and of server connections. */
  readonly otherFds: number;
  readonly fds: number;
  readonly clients: number;
  readonly servers: number;
  readonly cached: number;
}

export async function sampleProxy(pid: number, httpPort: number, atMs: number): Promise<Sample> {
  const metrics = await (
    await fetch(`http://127.0.0.1:${httpPort}/metrics`, { signal: AbortSignal.timeout(10_000) })
  ).text();
  const sum = (name: string): number =>
    [...metrics.matchAll(new RegExp(`^${name}(?:\\{[^}]*\\})? ([0-9.e+-]+)$`, 'gm'))].reduce(
      (total, match) => total + Number(match[1]),
      0,
    );
  const fds = readdirSync(`/proc/${pid}/fd`).length;
  const clients = sum('leasehold_clients');
  const servers = sum('leasehold_pool_servers');
  return {
    atMs,
    rssMb: Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1]) / 1024,
    heapMb: sum('nodejs_heap_size_used_bytes') / 2 ** 20,
    externalMb: sum('nodejs_external_memory_bytes') / 2 ** 20,
    fds,
    otherFds: fds - clients - servers,
    clients,
    servers,
    cached: sum('leasehold_classification_cache_entries'),
  };
}

/** The proxy among the children of `leasehold up`. */
export function proxyPid(upPid: number): number {
  const children = readFileSync(`/proc/${upPid}/task/${upPid}/children`, 'latin1')
    .split(' ')
    .filter(Boolean)
    .map(Number);
  const pid = children.find((each) => readFileSync(`/proc/${each}/cmdline`, 'latin1').split('\0').includes('proxy'));
  if (pid === undefined) throw new Error(`no proxy among the children of ${upPid}`);
  return pid;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

/** What grew from the middle third to the last one by more than `ratio` and `slack` together. The first third is warm-up. */
export function growth(
  samples: readonly Sample[],
): { readonly name: string; readonly middle: number; readonly last: number; readonly flat: boolean }[] {
  const third = Math.floor(samples.length / 3);
  const middle = samples.slice(third, 2 * third);
  const last = samples.slice(2 * third);
  return TOLERANCES.map(([name, ratio, slack]) => {
    const [before, after] = [median(middle.map((each) => each[name])), median(last.map((each) => each[name]))];
    return { name, middle: before, last: after, flat: after <= before * ratio + slack };
  });
}

const TOLERANCES = [
  ['rssMb', 1.05, 8],
  ['heapMb', 1.1, 5],
  ['externalMb', 1.1, 5],
  // Log-ins under way are among them; at rest, `conclude` allows four.
  ['otherFds', 1, 16],
] as const;

export function table(samples: readonly Sample[], rows: number): string {
  const step = Math.max(1, Math.floor(samples.length / rows));
  const lines = samples
    .filter((_, i) => i % step === 0 || i === samples.length - 1)
    .map((s) =>
      [(s.atMs / 60_000).toFixed(1), s.rssMb, s.heapMb, s.externalMb, s.fds, s.clients, s.servers, s.cached]
        .map((v) => (typeof v === 'number' ? v.toFixed(0) : v).padStart(8))
        .join(''),
    );
  return [
    ['minute', 'rss MB', 'heap MB', 'ext MB', 'fds', 'clients', 'servers', 'cached']
      .map((name) => name.padStart(8))
      .join(''),
    ...lines,
  ].join('\n');
}
