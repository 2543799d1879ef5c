import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { stringify } from 'yaml';
import { freePorts } from '../../support/ports.ts';
import type { ProxyCluster } from '../../support/proxy-cluster.ts';

const ROOT = resolve(import.meta.dirname, '../../..');

/** `leasehold proxy` as users run it: a crash of it is a crash of it alone, and its memory is its own. */
export class ProxyProcess implements AsyncDisposable {
  readonly port: number;
  readonly httpPort: number;
  readonly #child: ChildProcess;
  readonly #folder: string;
  readonly #output: string[] = [];

  private constructor(child: ChildProcess, folder: string, port: number, httpPort: number) {
    this.#child = child;
    this.#folder = folder;
    this.port = port;
    this.httpPort = httpPort;
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on('data', (chunk: Buffer) => {
        this.#output.push(chunk.toString());
        if (this.#output.length > 200) this.#output.shift();
      });
    }
  }

  static async start(cluster: ProxyCluster, settings: Record<string, unknown>): Promise<ProxyProcess> {
    const [port, httpPort] = (await freePorts(2)) as [number, number];
    const folder = await mkdtemp(join(tmpdir(), 'leasehold-fuzz-'));
    const file = join(folder, 'proxy.yaml');
    const proxy = { id: 'fuzzed', listen: { port }, http: { port: httpPort }, consoleUsers: ['app'], ...settings };
    await writeFile(
      file,
      stringify({ cluster: { etcd: [cluster.etcd.endpoint] }, service: { password: 'service' }, proxy }),
    );
    const child = spawn(process.execPath, [join(ROOT, 'ops/cli.ts'), 'proxy', '--config', file], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const started = new ProxyProcess(child, folder, port, httpPort);
    for (let i = 0; ; i++) {
      const answer = await fetch(`http://127.0.0.1:${httpPort}/readyz`).catch(() => null);
      if (answer?.status === 200) return started;
      if (i > 400 || !started.alive) throw new Error(`the proxy does not start:\n${started.output}`);
      await sleep(50);
    }
  }

  get pid(): number {
    return this.#child.pid as number;
  }

  get alive(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** Its last words. */
  get output(): string {
    return this.#output.join('').slice(-5_000);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.alive) {
      const ended = new Promise((done) => this.#child.once('exit', done));
      this.#child.kill('SIGTERM');
      await Promise.race([ended, sleep(15_000)]);
      if (this.alive) this.#child.kill('SIGKILL');
    }
    await rm(this.#folder, { recursive: true, force: true });
  }
}
