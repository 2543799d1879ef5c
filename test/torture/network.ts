import { execFile, spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { promisify } from 'node:util';
import { freePorts } from '../support/ports.ts';

const run = promisify(execFile);

export type Heal = () => Promise<void>;

/** Where the parts of a cluster live, and what lies between them. */
export interface Network extends AsyncDisposable {
  /** Null where the parts can be cut off from each other, else why not. */
  readonly missing: string | null;
  address(host: string): string;
  /** A port for one service of the host. The same every time. */
  port(host: string, service: keyof typeof PORTS): number;
  /** The command that runs another one on the host, as the same process. */
  command(host: string, program: string, args: readonly string[]): [string, ...string[]];
  /** Drops what `from` sends to `to`; with a fraction, that part of it, at random. */
  drop(from: string, to: string, fraction?: number): Promise<Heal>;
}

const PORTS = { postgres: 5432, agent: 8008, etcd: 2379, etcdPeer: 2380, proxy: 6432, http: 6480 };
const PREFIX = 'lhtort';

/** Namespaces where this machine can make them, else loopback, with the reason. */
export async function openNetwork(hosts: readonly string[]): Promise<Network> {
  const missing = whyNoNamespaces();
  if (missing !== null) return openLoopback(hosts, missing);
  await removeLeftovers();
  const network = new NamespaceNetwork(hosts);
  try {
    await network.make();
    return network;
  } catch (error) {
    await network[Symbol.asyncDispose]();
    return openLoopback(hosts, `a network of namespaces could not be made: ${(error as Error).message.trim()}`);
  }
}

function whyNoNamespaces(): string | null {
  if (process.platform !== 'linux') return 'network namespaces are Linux’s';
  if (process.getuid?.() !== 0) return 'network namespaces need root';
  for (const [program, args] of [
    ['ip', ['-V']],
    ['nsenter', ['--version']],
  ] as const) {
    if (spawnSync(program, args, { stdio: 'ignore' }).status !== 0) return `the program ${program} is missing`;
  }
  return null;
}

/**
 * One namespace for each host, one for the bridge between them (so that the machine's own packet filter has no say in
 * it), and one address of this machine itself, which sees all of them whatever is cut.
 */
class NamespaceNetwork implements Network {
  readonly missing = null;
  readonly #hosts: readonly string[];
  readonly #id = `${PREFIX}${process.pid}`;
  readonly #subnet: string;
  #filter: 'iptables' | 'route' = 'iptables';

  constructor(hosts: readonly string[]) {
    this.#hosts = hosts;
    this.#subnet = freeSubnet();
  }

  async make(): Promise<void> {
    const bridge = this.#namespace('switch');
    await run('ip', ['netns', 'add', bridge]);
    await run('ip', ['-n', bridge, 'link', 'add', 'br0', 'type', 'bridge']);
    await run('ip', ['-n', bridge, 'link', 'set', 'br0', 'up']);
    await run('ip', ['link', 'add', this.#id, 'type', 'veth', 'peer', 'name', 'up0', 'netns', bridge]);
    await run('ip', ['address', 'add', `${this.#subnet}.254/24`, 'dev', this.#id]);
    await run('ip', ['link', 'set', this.#id, 'up']);
    await run('ip', ['-n', bridge, 'link', 'set', 'up0', 'master', 'br0', 'up']);
    for (const [index, host] of this.#hosts.entries()) {
      const name = this.#namespace(host);
      await run('ip', ['netns', 'add', name]);
      await run('ip', ['-n', name, 'link', 'set', 'lo', 'up']);
      const peer = ['peer', 'name', `p${index}`, 'netns', bridge];
      await run('ip', ['-n', name, 'link', 'add', 'eth0', 'type', 'veth', ...peer]);
      await run('ip', ['-n', name, 'address', 'add', `${this.address(host)}/24`, 'dev', 'eth0']);
      await run('ip', ['-n', name, 'link', 'set', 'eth0', 'up']);
      await run('ip', ['-n', bridge, 'link', 'set', `p${index}`, 'master', 'br0', 'up']);
    }
    const [first, second] = this.#hosts as [string, string];
    await this.drop(first, second).then(
      (heal) => heal(),
      () => {
        this.#filter = 'route';
      },
    );
  }

  address(host: string): string {
    const index = this.#hosts.indexOf(host);
    if (index < 0) throw new Error(`no host ${host}`);
    return `${this.#subnet}.${index + 1}`;
  }

  port(_host: string, service: keyof typeof PORTS): number {
    return PORTS[service];
  }

  command(host: string, program: string, args: readonly string[]): [string, ...string[]] {
    return ['nsenter', `--net=/run/netns/${this.#namespace(host)}`, program, ...args];
  }

  async drop(from: string, to: string, fraction = 1): Promise<Heal> {
    if (this.#filter === 'route') return this.#blackhole(from, to);
    const some = fraction < 1 ? ['-m', 'statistic', '--mode', 'random', '--probability', String(fraction)] : [];
    const rule = ['INPUT', '-s', this.address(from), ...some, '-j', 'DROP'];
    const iptables = (what: string) => {
      const [program, ...args] = this.command(to, 'iptables', ['-w', what, ...rule]);
      return run(program, args);
    };
    await iptables('-A');
    return async () => void (await iptables('-D'));
  }

  /** Without a packet filter: the sender has no way to the other. Its new connections fail at once, its old ones fall silent. */
  async #blackhole(from: string, to: string): Promise<Heal> {
    const route = (what: string) =>
      run('ip', ['-n', this.#namespace(from), 'route', what, 'blackhole', `${this.address(to)}/32`]);
    await route('add').catch(() => null); // there already, for another fault
    return async () => void (await route('del').catch(() => null));
  }

  #namespace(host: string): string {
    return `${this.#id}-${host}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await removeNamespaces(`${this.#id}-`);
    await run('ip', ['link', 'del', this.#id]).catch(() => null); // it goes with its peer
  }
}

/** What runs of this program left that were killed. */
async function removeLeftovers(): Promise<void> {
  if (!existsSync('/run/netns')) return;
  const owners = new Set(
    readdirSync('/run/netns').flatMap((name) => new RegExp(`^${PREFIX}(\\d+)-`).exec(name)?.[1] ?? []),
  );
  for (const owner of owners) if (!existsSync(`/proc/${owner}`)) await removeNamespaces(`${PREFIX}${owner}-`);
}

/** With everything that runs in them. */
async function removeNamespaces(prefix: string): Promise<void> {
  if (!existsSync('/run/netns')) return;
  for (const name of readdirSync('/run/netns').filter((each) => each.startsWith(prefix))) {
    const { stdout } = await run('ip', ['netns', 'pids', name]).catch(() => ({ stdout: '' }));
    for (const pid of stdout.split('\n').filter(Boolean)) {
      try {
        process.kill(Number(pid), 'SIGKILL');
      } catch {
        // gone
      }
    }
    await run('ip', ['netns', 'del', name]).catch(() => null);
  }
}

function freeSubnet(): string {
  const { stdout } = spawnSync('ip', ['-4', 'route', 'show', 'table', 'all'], { encoding: 'utf8' });
  for (let third = process.pid % 200; third < 250; third++)
    if (!stdout.includes(`10.213.${third}.`) && !/\b10\.0\.0\.0\/8\b/.test(stdout)) return `10.213.${third}`;
  return '198.18.213';
}

async function openLoopback(hosts: readonly string[], missing: string): Promise<Network> {
  const services = Object.keys(PORTS) as (keyof typeof PORTS)[];
  const ports = await freePorts(hosts.length * services.length);
  return {
    missing,
    address: () => '127.0.0.1',
    port: (host, service) => ports[hosts.indexOf(host) * services.length + services.indexOf(service)] as number,
    command: (_host, program, args) => [program, ...args],
    drop: () => Promise.reject(new Error(missing)),
    [Symbol.asyncDispose]: async () => {},
  };
}
