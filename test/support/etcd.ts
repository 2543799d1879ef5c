import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePorts } from './ports.ts';

/** A real etcd member in a folder and on ports of its own. */
export interface TestEtcd extends AsyncDisposable {
  readonly endpoint: string;
  readonly pid: number;
  pause(): void;
  resume(): void;
  /** Ends it; the data stays, and `start` brings it back on the same ports. */
  stop(signal?: NodeJS.Signals): Promise<void>;
  start(): Promise<void>;
}

/** With these the member speaks TLS to clients, and asks each for a certificate of this authority. */
export interface EtcdTlsFiles {
  readonly caFile: string;
  readonly certFile: string;
  readonly keyFile: string;
}

/** `members` of one cluster, each ready for clients. Whoever starts them disposes of each. */
export async function startEtcdCluster(
  members: number,
  flags: readonly string[] = [],
  tls: EtcdTlsFiles | null = null,
): Promise<TestEtcd[]> {
  const ports = await freePorts(members * 3);
  const url = (index: number, scheme = 'http') => `${scheme}://127.0.0.1:${ports[index]}`;
  const plan = Array.from({ length: members }, (_, index) => ({
    name: `etcd${index + 1}`,
    client: url(index * 3, tls === null ? 'http' : 'https'),
    peer: url(index * 3 + 1),
    health: url(index * 3 + 2),
  }));
  const secured =
    tls === null
      ? []
      : [
          `--cert-file=${tls.certFile}`,
          `--key-file=${tls.keyFile}`,
          `--trusted-ca-file=${tls.caFile}`,
          '--client-cert-auth',
        ];
  const cluster = plan.map((member) => `${member.name}=${member.peer}`).join(',');
  return Promise.all(plan.map((member) => startMember(member, cluster, [...secured, ...flags])));
}

export async function startEtcd(flags: readonly string[] = [], tls: EtcdTlsFiles | null = null): Promise<TestEtcd> {
  const [etcd] = await startEtcdCluster(1, flags, tls);
  if (etcd === undefined) throw new Error('no etcd was started');
  return etcd;
}

async function startMember(
  member: { readonly name: string; readonly client: string; readonly peer: string; readonly health: string },
  cluster: string,
  flags: readonly string[],
): Promise<TestEtcd> {
  const folder = await mkdtemp(join(tmpdir(), 'leasehold-etcd-'));
  let child: ChildProcess | null = null;
  const start = async () => {
    child = spawn(
      process.env['LEASEHOLD_ETCD_BIN'] ?? 'etcd',
      [
        `--name=${member.name}`,
        `--data-dir=${join(folder, 'data')}`,
        '--log-level=error',
        `--listen-client-urls=${member.client}`,
        `--advertise-client-urls=${member.client}`,
        `--listen-metrics-urls=${member.health}`,
        `--listen-peer-urls=${member.peer}`,
        `--initial-advertise-peer-urls=${member.peer}`,
        `--initial-cluster=${cluster}`,
        '--initial-cluster-state=new',
        ...flags,
      ],
      { stdio: 'ignore' },
    );
    await untilHealthy(member.health);
  };
  const stop = async (signal: NodeJS.Signals = 'SIGTERM') => {
    const running = child;
    if (running === null || running.exitCode !== null || running.signalCode !== null) return;
    const ended = new Promise((resolve) => running.once('exit', resolve));
    running.kill(signal);
    running.kill('SIGCONT');
    await ended;
  };
  await start();
  return {
    endpoint: member.client,
    get pid() {
      return child?.pid ?? 0;
    },
    pause: () => void child?.kill('SIGSTOP'),
    resume: () => void child?.kill('SIGCONT'),
    stop,
    start,
    async [Symbol.asyncDispose]() {
      await stop('SIGKILL');
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function untilHealthy(url: string): Promise<void> {
  for (let attempt = 0; attempt < 150; attempt++) {
    try {
      const answer = await fetch(`${url}/health`, { signal: AbortSignal.timeout(500) });
      if (((await answer.json()) as { health?: string }).health === 'true') return;
    } catch {
      // not up yet
    }
    await sleep(100);
  }
  throw new Error(`etcd at ${url} did not become healthy within 15 s`);
}
