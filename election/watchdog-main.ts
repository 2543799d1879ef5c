/**
 * The watchdog's own process (S2): `watchdog-main.ts '{"dataDir","uid","dieWithAgent"}'`. It reads deadlines from its
 * standard input, one JSON line each, as absolute times of the machine's clock, so that a line that was late in the
 * pipe does not prolong anything. The end of the input means that the agent has died.
 */
import { createInterface } from 'node:readline';
import { findLivingServer, findProcesses, readPostmasterPid, sendSignal } from './postgres/processes.ts';
import { machineUptimeMs } from './watchdog-clock.ts';
import { Guard } from './watchdog-guard.ts';

const { dataDir, uid, dieWithAgent } = JSON.parse(process.argv[2] ?? '{}') as {
  dataDir: string;
  uid: number;
  dieWithAgent: boolean;
};

const guard = new Guard(
  {
    processes: () => {
      const living = findLivingServer(dataDir);
      return living.length > 0 ? living : findProcesses([dataDir], uid);
    },
    postmaster: () => readPostmasterPid(dataDir),
    send: sendSignal,
    report: (what) => process.stdout.write(`${what}\n`),
  },
  dieWithAgent,
);

let timer: NodeJS.Timeout | undefined;

function look(): void {
  clearTimeout(timer);
  const next = guard.tick(machineUptimeMs());
  if (next === 'done') process.exit(0);
  // After a pause of this process itself the timer is due before the lines that wait in the pipe: read those first.
  if (next !== null) timer = setTimeout(() => setImmediate(look), next);
}

process.on('SIGINT', () => undefined);
process.on('SIGHUP', () => undefined);
// The agent may be gone when something is reported.
process.stdout.on('error', () => undefined);

const lines = createInterface({ input: process.stdin });
lines.on('line', (line) => {
  if (line === 'close') process.exit(0);
  guard.feed(line === 'null' ? null : Number(line));
  look();
});
lines.on('close', () => {
  guard.agentGone(machineUptimeMs());
  look();
});
process.stdout.write('ready\n');
