import { setTimeout as sleep } from 'node:timers/promises';
import { Random } from '../../simulation/random.ts';
import type { ProxyCluster } from '../../support/proxy-cluster.ts';
import { type Sample, sampleProxy } from '../../soak/samples.ts';
import { attack } from './attack.ts';
import { BadServer } from './bad-server.ts';
import { ProxyProcess } from './proxy-process.ts';
import { Watcher } from './watcher.ts';

export interface BytesCampaign {
  readonly seed: number;
  readonly runs: number;
  readonly untilMs: number;
  readonly say: (line: string) => void;
}

const AT_ONCE = 8;
const RSS_SLACK_MB = 80;

/** Fuzzed clients, some at once, against a proxy of its own. The faults found. */
export async function fuzzBytes(cluster: ProxyCluster, campaign: BytesCampaign): Promise<string[]> {
  await cluster.sql('node1', 'CREATE TABLE IF NOT EXISTS fuzz_bytes (t text); GRANT ALL ON fuzz_bytes TO app');
  await using proxy = await ProxyProcess.start(cluster, { pool: { size: 3 }, maxBufferBytes: 65_536 });
  const watcher = await Watcher.start(proxy.port, false);
  const random = new Random(campaign.seed);
  const states = new Map<string, number>();
  let runs = 0;
  let settled: Sample | null = null;
  const halfTimeMs = (performance.now() + campaign.untilMs) / 2;
  while (runs < campaign.runs && performance.now() < campaign.untilMs && proxy.alive && watcher.faults.length === 0) {
    const batch = await Promise.all(
      Array.from({ length: AT_ONCE }, () => attack(random.fork(), proxy.port).catch(() => null)),
    );
    for (const each of batch) if (each !== null) states.set(each.state, (states.get(each.state) ?? 0) + 1);
    runs += AT_ONCE;
    // The first half makes the heap as large as this work wants it: the second must not make it grow.
    if (settled === null && (runs >= campaign.runs / 2 || performance.now() >= halfTimeMs))
      settled = await sampleProxy(proxy.pid, proxy.httpPort, 0);
  }
  await watcher.stop();
  campaign.say(
    `${runs} fuzzed connections, ${watcher.answers} honest answers; ${[...states].map(([state, count]) => `${state} ${count}`).join(', ')}`,
  );
  if (!proxy.alive) return [`the proxy ended:\n${proxy.output}`];
  return [...watcher.faults, ...(await growth(proxy, settled))];
}

/** A follower that says what no server should, and an honest client that must never be told a wrong thing. The faults found. */
export async function fuzzServer(cluster: ProxyCluster, campaign: BytesCampaign): Promise<string[]> {
  const random = new Random(campaign.seed);
  await using bad = await BadServer.standBefore(cluster, 'node2', random);
  await using proxy = await ProxyProcess.start(cluster, { pool: { size: 3 } });
  const watcher = await Watcher.start(proxy.port, true);
  let settled: Sample | null = null;
  while (
    bad.spoilt < campaign.runs &&
    performance.now() < campaign.untilMs &&
    proxy.alive &&
    watcher.faults.length === 0
  ) {
    bad.beBad(0.2);
    await sleep(150);
    bad.beBad(0); // so that it is taken for a follower again
    await sleep(350);
    // The first minutes make the heap as large as this work wants it: what comes later must not grow.
    if (settled === null && bad.spoilt >= campaign.runs / 2) settled = await sampleProxy(proxy.pid, proxy.httpPort, 0);
  }
  const before = watcher.answers;
  const honestMs = performance.now() + 10_000;
  while (watcher.answers < before + 20 && performance.now() < honestMs && proxy.alive) await sleep(50);
  await watcher.stop();
  campaign.say(`${bad.spoilt} answers spoilt, ${watcher.answers} honest ones heard`);
  if (!proxy.alive) return [`the proxy ended:\n${proxy.output}`];
  if (watcher.answers < before + 20) watcher.faults.push('no answers any more once the server is good again');
  return [...watcher.faults, ...(await growth(proxy, settled))];
}

/** The fuzzed clients are gone: so must be what was held for them. */
async function growth(proxy: ProxyProcess, settled: Sample | null): Promise<string[]> {
  let now = await sampleProxy(proxy.pid, proxy.httpPort, 0);
  for (let tries = 0; now.clients > 0 && tries < 300; tries++) {
    await sleep(100);
    now = await sampleProxy(proxy.pid, proxy.httpPort, 0);
  }
  const faults: string[] = [];
  if (now.clients > 0) faults.push(`${now.clients} clients are counted that have long gone`);
  if (settled !== null && now.otherFds > settled.otherFds + AT_ONCE + 4) {
    faults.push(`descriptors beside connections: ${settled.otherFds} then, ${now.otherFds} now`);
  }
  if (settled !== null && now.rssMb > settled.rssMb + RSS_SLACK_MB) {
    faults.push(`memory: ${settled.rssMb.toFixed(0)} MB then, ${now.rssMb.toFixed(0)} MB now`);
  }
  return faults;
}
