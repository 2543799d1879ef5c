import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** A container engine that answers, or why there is none. */
export type Engine =
  | { readonly kind: 'ready'; readonly stop: () => Promise<void> }
  | { readonly kind: 'absent'; readonly why: string };

const PACKAGES = ['docker.io', 'iptables', 'containerd', 'runc', 'debootstrap'];

/**
 * The engine that answers already, else one that this process starts and its caller stops. With `install`, missing
 * programs are installed from Debian's packages (root on Debian only).
 */
export async function acquireEngine(options: { install: boolean; logDir: string }): Promise<Engine> {
  if (engineAnswers()) return { kind: 'ready', stop: async () => {} };
  const root = process.getuid?.() === 0;
  if (!hasDaemon()) {
    if (!options.install) return { kind: 'absent', why: 'no container engine answers `docker info`' };
    if (!root || !existsSync('/usr/bin/apt-get')) {
      return { kind: 'absent', why: 'no container engine, and only root on Debian can install one here' };
    }
    installPackages();
  }
  if (!root) return { kind: 'absent', why: 'a container engine is installed, but only root can start it' };
  return startDaemon(options.logDir);
}

/** A client may be on the PATH without any engine behind it, so the server is what is asked for. */
export function engineAnswers(): boolean {
  return (
    spawnSync('docker', ['info', '--format', '{{.ServerVersion}}'], { stdio: 'ignore', timeout: 15_000 }).status === 0
  );
}

function hasDaemon(): boolean {
  return ['/usr/sbin/dockerd', '/usr/bin/dockerd', '/usr/local/bin/dockerd'].some((path) => existsSync(path));
}

function installPackages(): void {
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  spawnSync('apt-get', ['update', '-qq'], { stdio: 'inherit', env });
  const result = spawnSync('apt-get', ['install', '-y', '-qq', '--no-install-recommends', ...PACKAGES], {
    stdio: ['ignore', 'ignore', 'inherit'],
    env,
  });
  if (result.status !== 0) throw new Error(`apt-get could not install ${PACKAGES.join(', ')}`);
}

async function startDaemon(logDir: string): Promise<Engine> {
  mkdirSync(logDir, { recursive: true });
  const logFile = join(logDir, 'dockerd.log');
  const log = openSync(logFile, 'a');
  // Detached: a Ctrl-C for the tests must first let them remove their containers.
  const daemon = spawn('dockerd', [], { stdio: ['ignore', log, log], detached: true });
  const deadline = performance.now() + 60_000;
  while (performance.now() < deadline) {
    if (engineAnswers()) return { kind: 'ready', stop: () => stopDaemon(daemon) };
    if (daemon.exitCode !== null) return { kind: 'absent', why: `dockerd ended at once; see ${logFile}` };
    await sleep(250);
  }
  await stopDaemon(daemon);
  return { kind: 'absent', why: `dockerd did not answer within 60 s; see ${logFile}` };
}

async function stopDaemon(daemon: ChildProcess): Promise<void> {
  if (daemon.exitCode !== null || daemon.signalCode !== null) return;
  const exited = new Promise((resolve) => daemon.once('exit', resolve));
  daemon.kill('SIGTERM');
  await Promise.race([exited, sleep(20_000, undefined, { ref: false })]);
  if (daemon.exitCode === null && daemon.signalCode === null) daemon.kill('SIGKILL');
}
