import assert from 'node:assert/strict';
import type pg from 'pg';
import type { LocalCluster } from './local-cluster.ts';

export interface ProbeReport {
  /** Between two acknowledged writes that followed each other. */
  readonly longestStallMs: number;
  readonly acknowledged: number;
  /** Acknowledged numbers that are not in the table. */
  readonly lost: readonly number[];
  /** Writes whose outcome the proxy reported as unknown. */
  readonly inDoubt: number;
}

export interface Probe {
  untilAcknowledged(count: number): Promise<void>;
  stop(): Promise<ProbeReport>;
}

let probes = 0;

/** Inserts one number after the other through one connection that must live through everything. */
export async function startProbe(cluster: LocalCluster): Promise<Probe> {
  const table = `probe_${process.pid}_${probes++}`;
  await cluster.query(`CREATE TABLE ${table}(id int PRIMARY KEY)`);
  const client = await cluster.connect();
  const acknowledged: number[] = [];
  let inDoubt = 0;
  let longestStallMs = 0;
  let running = true;

  const work = async (): Promise<void> => {
    let lastMs = performance.now();
    for (let id = 0; running; id++) {
      try {
        await client.query(`INSERT INTO ${table} VALUES ($1)`, [id]);
      } catch (error) {
        assert.equal((error as pg.DatabaseError).code, '08007', `the probe got: ${String(error)}`);
        inDoubt++;
        continue;
      }
      acknowledged.push(id);
      const nowMs = performance.now();
      longestStallMs = Math.max(longestStallMs, nowMs - lastMs);
      lastMs = nowMs;
    }
  };
  const done = work();
  done.catch(() => {}); // told by stop()

  return {
    untilAcknowledged: (count) =>
      cluster.until(`the probe has written ${count} rows`, () => acknowledged.length >= count),
    stop: async () => {
      running = false;
      await done;
      await client.end();
      const rows = await cluster.query(`/* leasehold: leader */ SELECT id FROM ${table}`);
      const found = new Set(rows.map((row) => row['id']));
      return {
        longestStallMs,
        acknowledged: acknowledged.length,
        lost: acknowledged.filter((id) => !found.has(id)),
        inDoubt,
      };
    },
  };
}
