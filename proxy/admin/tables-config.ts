import { redactConfig } from '../../common/config/load.ts';
import { isReadAtStart } from './settings.ts';
import { ints, texts } from './columns.ts';
import { ALIASES } from './settings.ts';
import type { ShowCommand } from './tables.ts';
import type { AdminProviders } from './types.ts';

export const CONFIG: ShowCommand = {
  help: 'every setting in force, and whether RELOAD and SET change it; then those that PgBouncer has, by its names',
  columns: texts('key', 'value', 'default', 'changeable'),
  rows: (providers) => {
    const { current, defaults } = providers.config();
    const standard = new Map(leaves(redactConfig(defaults)));
    const rows = leaves(redactConfig(current)).map(([key, value]) => ({
      key,
      value,
      default: standard.get(key) ?? null,
      changeable: isReadAtStart(key) ? 'no' : 'yes',
    }));
    const byKey = new Map(rows.map((row) => [row.key, row]));
    for (const [name, alias] of ALIASES) {
      const row = byKey.get(alias.path);
      if (row === undefined) continue;
      const old = row.default === null ? null : alias.toText(row.default);
      rows.push({ ...row, key: name, value: alias.toText(row.value), default: old });
    }
    return rows;
  },
};

function leaves(value: unknown, path = ''): [string, string][] {
  if (Array.isArray(value))
    return [[path, value.map((each) => (typeof each === 'object' ? JSON.stringify(each) : String(each))).join(',')]];
  if (typeof value !== 'object' || value === null) return value === undefined ? [] : [[path, String(value as string)]];
  return Object.entries(value).flatMap(([name, child]) => leaves(child, path === '' ? name : `${path}.${name}`));
}

/** PgBouncer's two columns, and no others: its exporters read them by position. */
export const LISTS: ShowCommand = {
  help: 'how many of everything there are',
  columns: [...texts('list'), ...ints('items')],
  rows: (providers) => {
    const pools = providers.pools();
    const { clients, maxClients, arriving } = providers.status();
    const sum = (field: 'sv_idle' | 'sv_active'): number => pools.reduce((total, pool) => total + pool[field], 0);
    return [
      { list: 'databases', items: providers.databases().length },
      { list: 'users', items: providers.users().length },
      { list: 'pools', items: pools.length },
      { list: 'free_clients', items: Math.max(0, maxClients - clients) },
      { list: 'used_clients', items: clients },
      { list: 'login_clients', items: arriving },
      { list: 'free_servers', items: sum('sv_idle') },
      { list: 'used_servers', items: sum('sv_active') },
      // Names are resolved by the system for each connection.
      ...['dns_names', 'dns_zones', 'dns_queries', 'dns_pending'].map((list) => ({ list, items: 0 })),
    ];
  },
};

export const USERS: ShowCommand = {
  help: 'users that are connected or that the configuration names',
  columns: [
    ...texts('name', 'pool_mode'),
    ...ints('max_user_connections', 'current_connections', 'current_client_connections'),
  ],
  rows: (providers) => providers.users().map((user) => ({ ...user })),
};

export const STATE: ShowCommand = {
  help: 'whether this proxy is active, paused, draining',
  columns: texts('key', 'value'),
  rows: (providers) => {
    const { draining } = providers.status();
    const paused = providers.databases().some((database) => database.paused);
    const word = (holds: boolean): string => (holds ? 'yes' : 'no');
    return [
      { key: 'active', value: word(!draining && !paused) },
      { key: 'paused', value: word(paused) },
      // A proxy is never suspended (SUSPEND is PgBouncer's way to hand its sockets over).
      { key: 'suspended', value: word(false) },
      { key: 'draining', value: word(draining) },
    ];
  },
};

export const MEM: ShowCommand = {
  help: 'memory of the process, in bytes',
  columns: [...texts('name'), ...ints('size', 'used', 'free', 'memtotal')],
  rows: memoryRows,
};

function memoryRows(providers: AdminProviders): Record<string, unknown>[] {
  const { rss, heapTotal, heapUsed, external, arrayBuffers } = providers.memory();
  const row = (name: string, total: number, used: number): Record<string, unknown> => {
    return { name, size: total, used, free: total - used, memtotal: total };
  };
  return [
    row('process', rss, rss),
    row('heap', heapTotal, heapUsed),
    row('external', external, external),
    row('buffers', arrayBuffers, arrayBuffers),
  ];
}
