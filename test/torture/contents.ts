import pg from 'pg';
import { type TortureCluster, NODES, NotWithin } from './cluster.ts';
import type { FinalRow } from './checker.ts';

/** How long followers may take to replay what there is, once nobody writes. */
const CATCH_UP_MS = 30_000;

interface NodeContents {
  readonly node: string;
  readonly timeline: string;
  readonly replays: boolean;
  readonly digest: string;
}

/**
 * Asks every PostgreSQL itself, past the proxies, once nobody writes any more: I6, all on one timeline and with equal
 * contents. `rows` is what the leader has; null where nobody leads.
 */
export async function compareNodes(
  cluster: TortureCluster,
  signal: AbortSignal,
): Promise<{ readonly rows: readonly FinalRow[] | null; readonly differences: readonly string[] }> {
  let seen: readonly NodeContents[] = [];
  const equal = async (): Promise<boolean> => {
    seen = await Promise.all(NODES.map((node) => contentsOf(cluster, node)));
    const [first] = seen as [NodeContents];
    const same = seen.every(({ timeline, digest }) => timeline === first.timeline && digest === first.digest);
    return same && seen.filter(({ replays }) => !replays).length === 1;
  };
  const differences: string[] = [];
  try {
    await cluster.until('all nodes have equal contents', equal, CATCH_UP_MS, signal);
  } catch (error) {
    if (!(error instanceof NotWithin)) throw error;
    differences.push(`${error.message}; ${seen.map((each) => JSON.stringify(each)).join('; ')}`);
  }
  const leader = seen.find(({ replays, digest }) => !replays && digest !== '');
  return { rows: leader === undefined ? null : await readRows(cluster, leader.node), differences };
}

/** The rows of a node; without one named, of any that answers. */
export async function readRows(cluster: TortureCluster, node?: string): Promise<FinalRow[]> {
  for (const name of node === undefined ? NODES : [node]) {
    const rows = await ask(cluster, name, 'SELECT key, n::float8, value::float8 FROM torture.items');
    if (rows !== null) return rows as unknown as FinalRow[];
  }
  throw new Error('no node answers');
}

/** Empty texts where the node does not answer. */
async function contentsOf(cluster: TortureCluster, node: string): Promise<NodeContents> {
  const rows = await ask(
    cluster,
    node,
    `SELECT pg_is_in_recovery() AS replays,
      (SELECT count(*) || ' rows ' || md5(string_agg(i::text, ',' ORDER BY key, n)) FROM torture.items i)
      || (SELECT md5(string_agg(h::text, ',' ORDER BY key)) FROM torture.heads h) AS digest`,
  );
  const row = rows?.[0];
  const timeline = cluster.observer.view?.members.get(node)?.timeline ?? 0;
  return {
    node,
    timeline: String(timeline),
    replays: row?.['replays'] === true,
    digest: (row?.['digest'] as string | undefined) ?? '',
  };
}

async function ask(cluster: TortureCluster, node: string, sql: string): Promise<Record<string, unknown>[] | null> {
  const url = cluster.nodeUrl(node, 'postgres');
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 3000, query_timeout: 20_000 });
  client.on('error', () => {});
  try {
    await client.connect();
    return (await client.query(sql)).rows as Record<string, unknown>[];
  } catch {
    return null;
  } finally {
    client.end().catch(() => {});
  }
}
