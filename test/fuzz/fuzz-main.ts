import { parseArgs } from 'node:util';
import { ProxyCluster } from '../support/proxy-cluster.ts';
import { fuzzBytes, fuzzServer } from './bytes/campaign.ts';
import { providePrograms } from '../support/programs.ts';
import { type Campaign, fuzzSequences } from './sequences.ts';

/**
 * `npm run fuzz -- --seed S --runs N --minutes M [--sessions K] [--pool P]`: N random programs (or as many as fit into M
 * minutes), each compared with a direct connection. Sessions above 1 run at once and share P server connections. Exit code 1 if any differ.
 * `--bytes`: instead, N connections that send what nobody should, at every state, to a proxy process of its own. `--server`: a follower that answers so.
 */
async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      seed: { type: 'string', default: String(Date.now() % 1_000_000_000) },
      runs: { type: 'string' },
      minutes: { type: 'string' },
      sessions: { type: 'string', default: '1' },
      pool: { type: 'string', default: '1' },
      keep: { type: 'string', default: '5' },
      bytes: { type: 'boolean', default: false },
      server: { type: 'boolean', default: false },
    },
  });
  const campaign: Campaign = {
    seed: Number(values.seed),
    runs: Number(values.runs ?? (values.minutes === undefined ? 200 : Infinity)),
    untilMs: values.minutes === undefined ? Infinity : performance.now() + Number(values.minutes) * 60_000,
    sessions: Number(values.sessions),
    stopAfter: Number(values.keep),
    say: (line) => console.log(line),
  };
  await providePrograms((line) => console.log(line));
  if (values.bytes || values.server) {
    await using small = await ProxyCluster.start({ followers: 1 });
    const faults = await (values.server ? fuzzServer : fuzzBytes)(small, campaign);
    for (const fault of faults) console.log(`FAULT: ${fault}`);
    console.log(`seed ${values.seed}: ${faults.length} faults`);
    process.exitCode = faults.length === 0 ? 0 : 1;
    return;
  }
  await using cluster = await ProxyCluster.start({ followers: 2, proxy: { pool: { size: Number(values.pool) } } });
  const startedMs = performance.now();
  const { runs, messages, differences } = await fuzzSequences(cluster, campaign);
  const seconds = ((performance.now() - startedMs) / 1000).toFixed(0);
  console.log(
    `seed ${values.seed}: ${runs} runs, ${messages} messages, ${differences.length} differences in ${seconds} s`,
  );
  process.exitCode = differences.length === 0 ? 0 : 1;
}

await main();
