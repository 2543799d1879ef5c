import { cpSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { exec } from '../../ops/setup/exec.ts';
import { installPackages } from './debian-packages.ts';

/** A driver with the program that uses it. Its folder below `clients/` is copied to `<work>/src/<folder>`. */
export interface ClientProgram {
  readonly name: string;
  readonly folder: string;
  /** Debian's packages: of the driver, and of the language. */
  readonly packages: readonly string[];
  /** Program and arguments, run in its folder; absent: nothing to build. */
  readonly build?: readonly (readonly [string, ...string[]])[];
  /** Further environment of build and run. */
  readonly env?: Readonly<Record<string, string>>;
  /** Program and arguments, run in its folder, before `<name> <signals> <step> …`. */
  readonly command: readonly [string, ...string[]];
}

const JDBC = '/usr/share/java/postgresql.jar';
const PYTHON = ['/usr/bin/python3', '-B'] as const;

const GO_PACKAGES = ['golang-go', 'golang-github-lib-pq-dev', 'golang-github-jackc-pgx-v4-dev'];
const GO_BUILD = [['/usr/bin/go', 'build', '-o', 'client', '.']] as const;
/** From the source packages, without modules and so without a registry of them. */
const GO_ENV = { GO111MODULE: 'off', GOPATH: '/usr/share/gocode', GOCACHE: '/var/tmp/leasehold-go-cache' };

/** npm's registry as it is set up on this machine; the versions and their hashes are in the lock file. */
const NPM_CI = ['npm', 'ci', '--no-audit', '--no-fund', '--ignore-scripts'] as const;

export const clientPrograms: readonly ClientProgram[] = [
  {
    name: 'libpq',
    folder: 'c',
    packages: ['gcc', 'libc6-dev', 'libpq-dev'],
    build: [['sh', '-c', 'gcc -O1 -Wall -I"$(pg_config --includedir)" -o client client.c -lpq -lpthread']],
    command: ['./client'],
  },
  {
    name: 'jdbc',
    folder: 'java',
    packages: ['default-jdk-headless', 'libpostgresql-jdbc-java'],
    build: [['javac', '-encoding', 'UTF-8', '-cp', JDBC, 'Client.java']],
    command: ['java', '-Xmx512m', '-Dfile.encoding=UTF-8', '-Dstdout.encoding=UTF-8', '-cp', `${JDBC}:.`, 'Client'],
  },
  {
    name: 'psycopg2',
    folder: 'python',
    packages: ['python3', 'python3-psycopg2'],
    command: [...PYTHON, 'psycopg2_client.py'],
  },
  {
    name: 'psycopg3',
    folder: 'python',
    packages: ['python3', 'python3-psycopg'],
    command: [...PYTHON, 'psycopg3_client.py'],
  },
  {
    name: 'asyncpg',
    folder: 'python',
    packages: ['python3', 'python3-asyncpg'],
    command: [...PYTHON, 'asyncpg_client.py'],
  },
  {
    name: 'odbc',
    folder: 'python',
    packages: ['python3', 'python3-pyodbc', 'odbc-postgresql', 'odbcinst'],
    command: [...PYTHON, 'odbc_client.py'],
  },
  {
    name: 'dbd_pg',
    folder: 'perl',
    packages: ['perl', 'libdbd-pg-perl'],
    command: ['/usr/bin/perl', 'client.pl'],
  },
  {
    name: 'ruby_pg',
    folder: 'ruby',
    packages: ['ruby', 'ruby-pg'],
    command: ['/usr/bin/ruby', '-W0', 'client.rb'],
  },
  {
    name: 'php_pgsql',
    folder: 'php',
    packages: ['php-cli', 'php-pgsql'],
    command: ['/usr/bin/php', 'pgsql.php'],
  },
  {
    name: 'php_pdo',
    folder: 'php',
    packages: ['php-cli', 'php-pgsql'],
    command: ['/usr/bin/php', 'pdo.php'],
  },
  {
    name: 'go_pq',
    folder: 'go',
    packages: GO_PACKAGES,
    build: GO_BUILD,
    env: GO_ENV,
    command: ['./client'],
  },
  {
    name: 'go_pgx',
    folder: 'go',
    packages: GO_PACKAGES,
    build: GO_BUILD,
    env: GO_ENV,
    command: ['./client'],
  },
  {
    name: 'tokio_postgres',
    folder: 'rust',
    packages: ['cargo', 'librust-tokio-postgres-dev', 'librust-futures-util-dev'],
    build: [['/usr/bin/cargo', 'build', '--offline', '--quiet']],
    // The distribution's compiler: its crates are of its time.
    env: { PATH: '/usr/bin:/bin' },
    command: ['./target/debug/client'],
  },
  {
    name: 'node-postgres',
    folder: 'node',
    packages: [],
    build: [NPM_CI],
    command: [process.execPath, '--no-warnings', 'node-postgres.mjs'],
  },
  {
    name: 'postgres.js',
    folder: 'node',
    packages: [],
    build: [NPM_CI],
    command: [process.execPath, '--no-warnings', 'postgres-js.mjs'],
  },
];

const SOURCES = join(import.meta.dirname, 'clients');
/** The first build of Rust's crates takes one or two minutes of a processor. */
const BUILD_MS = 900_000;

/** Copies the programs to the work folder, installs and builds. By client: null, or why it cannot run. */
export async function prepareClients(work: string): Promise<ReadonlyMap<string, string | null>> {
  const src = join(work, 'src');
  mkdirSync(src, { recursive: true });
  for (const folder of readdirSync(SOURCES)) {
    // Over what is there: what was built from the same sources stays.
    cpSync(join(SOURCES, folder), join(src, folder), { recursive: true, preserveTimestamps: true });
  }
  const state = new Map<string, string | null>();
  // Drivers of one folder may share what is built there.
  const built = new Map<string, Promise<string | null>>();
  for (const client of clientPrograms) {
    const key = JSON.stringify([client.folder, client.build]);
    const missing = await installPackages(client.packages);
    if (missing === null && !built.has(key)) built.set(key, build(client, src));
    state.set(client.name, missing ?? (await built.get(key)) ?? null);
  }
  return state;
}

async function build(client: ClientProgram, src: string): Promise<string | null> {
  const cwd = join(src, client.folder);
  for (const [program, ...args] of client.build ?? []) {
    const env = { ...process.env, ...client.env };
    const { code, stdout, stderr } = await exec(program, args, { cwd, env, timeoutMs: BUILD_MS });
    if (code !== 0) return `${program} ${args.join(' ')} ended with ${code}: ${(stderr + stdout).trim().slice(-1500)}`;
  }
  return null;
}
