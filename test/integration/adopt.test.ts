import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, chownSync, existsSync, mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { after, before, describe, test } from 'node:test';
import pg from 'pg';
import { findBinaries } from '../../election/postgres/binaries.ts';
import { identityFor } from '../../election/postgres/identity.ts';
import { freePorts } from '../support/ports.ts';
import { makeNode, signal } from '../support/postgres-node.ts';
import { isRunning } from '../support/processes.ts';
import { AgentCluster, type AgentProcess } from './election-support.ts';

const CLI = resolve(import.meta.dirname, '../../ops/cli.ts');
const user = identityFor(undefined);
const binDir = findBinaries(undefined, process.env);
let folder: string;

/** A PostgreSQL as Leasehold has never seen it: its own superuser, settings, a role and a table. The tests go on from each other. */
describe('data that PostgreSQL made without Leasehold', () => {
  let port: number;
  let agent: Pick<AgentProcess, 'dataDir' | 'configFile' | 'node'>;

  before(async () => {
    folder = realpathSync(mkdtempSync(join(tmpdir(), 'leasehold-adopt-')));
    chmodSync(folder, 0o755);
    [port] = (await freePorts(1)) as [number];
  });
  after(() => {
    if (agent !== undefined && existsSync(join(agent.dataDir, 'postmaster.pid'))) stopPlain(agent.dataDir);
    rmSync(folder, { recursive: true, force: true });
  });

  test('a server that nobody of ours has started is neither taken nor killed', async () => {
    const dataDir = join(folder, 'plain/data');
    agent = { node: 'node-a', dataDir, configFile: join(folder, 'agent.json') };
    writeFileSync(agent.configFile, JSON.stringify(configOf(dataDir, port)));
    await makePlain(dataDir, port);
    const pid = postmasterOf(dataDir);
    const refused = adopt(agent);
    assert.equal(refused.status, 1);
    assert.match(refused.output, new RegExp(`PostgreSQL runs in .* \\(pid ${pid}\\): stop it first`));
    const begun = cli('agent', agent);
    assert.equal(begun.status, 1);
    assert.match(begun.output, /no agent has started runs in .* stop it; .* `leasehold adopt`/);
    assert.ok(isRunning(pid));
    stopPlain(dataDir);
    const { server } = makeNode(folder, 'plain', port);
    await assert.rejects(
      server.start({ role: 'leader', peer: null }, signal()),
      /has no role leasehold.*`leasehold adopt`/,
    );
  });

  test('a role of that name which is no superuser is left as it is', async () => {
    single(agent.dataDir, 'CREATE ROLE leasehold');
    const refused = adopt(agent);
    assert.equal(refused.status, 1);
    assert.match(refused.output, /needs the role "leasehold" as a superuser .* rename it/);
    single(agent.dataDir, 'DROP ROLE leasehold');
  });

  test('once it is adopted it is the first copy of a cluster, with its roles, passwords and rows', async () => {
    await using cluster = await AgentCluster.start(['node-a', 'node-b'], (first) => {
      mkdirSync(first.dataDir, { mode: 0o700 });
      spawnSync('cp', ['-a', `${agent.dataDir}/.`, first.dataDir]);
      for (const round of ['the first time', 'again']) {
        const done = adopt(first);
        assert.equal(done.status, 0, `${round}: ${done.output}`);
        assert.match(done.output, /is ready to be the first copy of cluster trial/);
        assert.match(done.output, /set again, with SCRAM: old/);
      }
    });
    await cluster.untilInStep();
    assert.equal(cluster.leader.node, 'node-a');
    for (const node of ['node-a', 'node-b']) {
      const login = {
        host: '127.0.0.1',
        port: cluster.agent(node).port,
        user: 'app',
        password: 'of before',
        database: 'shop',
      };
      const client = new pg.Client(login);
      await client.connect();
      const { rows } = await client.query('SELECT count(*)::int AS count FROM goods');
      await client.end();
      assert.deepEqual(rows, [{ count: 1000 }], node);
    }
    await cluster.stop('node-a');
    const late = adopt(cluster.agent('node-a'));
    assert.equal(late.status, 1);
    assert.match(late.output, /is of a Leasehold cluster already/);
  });
});

function configOf(dataDir: string, port: number): object {
  return {
    service: { password: 'service' },
    agent: { node: 'node-a', dataDir, listen: { port }, replication: { password: 'replication' } },
  };
}

function adopt(agent: Pick<AgentProcess, 'configFile'>): { status: number | null; output: string } {
  return cli('adopt', agent);
}

function cli(command: string, agent: Pick<AgentProcess, 'configFile'>): { status: number | null; output: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [CLI, command, '--config', agent.configFile], {
    encoding: 'utf8',
    timeout: 60_000,
  });
  return { status, output: stdout + stderr };
}

/** Up, with what its owner made in it, and settings that would be in the way of an agent. */
async function makePlain(dataDir: string, port: number): Promise<void> {
  mkdirSync(dirname(dataDir), { recursive: true });
  mkdirSync(dataDir, { mode: 0o700 });
  if (user.switchUser) chownSync(dataDir, user.uid, user.gid);
  run('initdb', ['-D', dataDir, '--username=dba', '--auth=trust']);
  const settings = `synchronous_standby_names = 'somebody'\nlisten_addresses = '127.0.0.1'\nport = ${port}\n`;
  writeFileSync(join(dataDir, 'postgresql.conf'), `${settings}unix_socket_directories = ''\n`, { flag: 'a' });
  run('pg_ctl', ['-D', dataDir, '-w', '-l', join(dataDir, 'log'), 'start']);
  for (const [database, sql] of [
    ['postgres', `CREATE ROLE app LOGIN PASSWORD 'of before'`],
    ['postgres', `SET password_encryption = md5; CREATE ROLE old LOGIN PASSWORD 'old'`],
    ['postgres', 'CREATE DATABASE shop OWNER app'],
    ['shop', `CREATE TABLE goods AS SELECT generate_series(1, 1000); GRANT SELECT ON goods TO app`],
  ] as const) {
    const options = '-c synchronous_commit=local';
    const client = new pg.Client({ host: '127.0.0.1', port, user: 'dba', database, options });
    await client.connect();
    await client.query(sql);
    await client.end();
  }
}

function postmasterOf(dataDir: string): number {
  const { stdout } = spawnSync('head', ['-1', join(dataDir, 'postmaster.pid')], { encoding: 'utf8' });
  return Number(stdout);
}

function stopPlain(dataDir: string): void {
  run('pg_ctl', ['-D', dataDir, '-w', '-m', 'fast', 'stop']);
}

function single(dataDir: string, sql: string): void {
  run('postgres', ['--single', '-D', dataDir, '-c', 'synchronous_standby_names=', 'postgres'], `${sql}\n`);
}

function run(program: string, args: readonly string[], input = ''): void {
  const { status, stderr } = spawnSync(join(binDir, program), args, {
    encoding: 'utf8',
    timeout: 60_000,
    input,
    cwd: folder,
    stdio: ['pipe', 'ignore', program === 'pg_ctl' ? 'ignore' : 'pipe'],
    ...(user.switchUser ? { uid: user.uid, gid: user.gid } : {}),
  });
  assert.equal(status, 0, `${program} ${args.join(' ')}: ${stderr}`);
}
