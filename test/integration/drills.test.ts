import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { Client } from 'pg';
import type { DrillReport } from '../../proxy/drill/types.ts';
import { type LocalCluster, startLocalCluster } from '../support/local-cluster.ts';

/** Drills on a running cluster of three nodes and two proxies, as operators ask for them. */
describe('drills', () => {
  let cluster: LocalCluster;
  const folder = mkdtempSync(join(tmpdir(), 'leasehold-drills-'));

  before(async () => {
    cluster = await startLocalCluster({}, ['--proxies', '2', '--set', 'drills.spacingMs=0']);
  });
  after(async () => {
    await cluster?.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  async function drill(kind: string, ...options: string[]): Promise<DrillReport> {
    await cluster.untilInStep();
    const file = join(folder, `${kind}.html`);
    const { status, output } = await cluster.cli('drill', kind, '--yes', '--json', '--html', file, ...options);
    const report = JSON.parse(output.slice(output.indexOf('\n{\n'))) as DrillReport;
    assert.equal(status, 0, output);
    assert.equal(report.outcome, 'passed');
    assert.equal(report.writes.missing, 0);
    assert.match(readFileSync(file, 'utf8'), new RegExp(`<title>Drill ${kind} of cluster main</title>`));
    return report;
  }

  /** By HTTP: begins it and leaves it alone. */
  async function post(kind: string, body: string): Promise<{ readonly id: string }> {
    const headers = { authorization: `Bearer ${apiToken(cluster)}` };
    const url = `http://127.0.0.1:${cluster.httpPort}/drill/${kind}`;
    const answer = await fetch(url, { method: 'POST', headers, body });
    const text = await answer.text();
    assert.equal(answer.status, 202, text);
    return JSON.parse(text) as { id: string };
  }

  test('a dry run names the candidate and what refuses, and does nothing', async () => {
    const { term } = await cluster.status();
    const free = await cluster.cli('drill', 'crash', '--dry-run');
    assert.equal(free.status, 0, free.output);
    assert.match(free.output, /kills PostgreSQL of node\d, the leader[\s\S]*candidate: node\d[\s\S]*it would run/);
    const blocker = await cluster.connect();
    await blocker.query('BEGIN');
    await blocker.query('CREATE TABLE being_made (i int)');
    const refused = await cluster.cli('drill', 'crash', '--yes');
    assert.equal(refused.status, 1, refused.output);
    assert.match(
      refused.output,
      /REFUSES +ddl +running: pid \d+: a relation is locked[\s\S]*refused by ddl.*--override ddl/,
    );
    await blocker.query('ROLLBACK');
    await blocker.end();
    // One minute of the day, and not this one.
    const away = new Date(Date.now() + 12 * 3600_000).toISOString().slice(11, 15);
    const set = await cluster.cli('config', 'set', `drillWindow=${away}0-${away}1 UTC`);
    assert.equal(set.status, 0, set.output);
    await cluster.until('the proxy goes by it', async () => {
      const { output } = await cluster.cli('drill', 'crash', '--dry-run');
      return /REFUSES +window +it is .*; drills may run .*override window/s.test(output);
    });
    await cluster.cli('config', 'unset', 'drillWindow');
    await cluster.until(
      'it is taken back',
      async () => (await cluster.cli('drill', 'crash', '--dry-run')).status === 0,
    );
    assert.equal((await cluster.status()).term, term);
  });

  test('a crash is measured: detection, fence, election, promotion, first write, and every write looked up', async () => {
    const report = await drill('crash');
    assert.notEqual(report.leaderAfter, report.leaderBefore);
    for (const [phase, ms] of Object.entries(report.phases)) assert.ok(ms !== null && ms >= 0, `${phase}: ${ms}`);
    const parts = Object.values(report.phases).reduce<number>((sum, ms) => sum + (ms ?? 0), 0);
    assert.ok(Math.abs(parts - (report.writes.stallMs ?? 0)) < 500, `${parts} of ${report.writes.stallMs} ms`);
    assert.ok(report.ownReads.done > 10);
    const next = await cluster.cli('drill', 'crash', '--dry-run', '--json');
    assert.equal((JSON.parse(next.output) as { predicted: { from: string } }).predicted.from, '1 past drill');
    const shown = await cluster.cli('drill', 'show', report.id);
    assert.match(shown.output, /looked up one by one: all there/);
  });

  test('a follower whose replay stands still serves nobody old data, and goes on afterwards', async () => {
    const report = await drill('lag', '--seconds', '3');
    assert.ok((report.worstLagBytes ?? 0) > 0);
    assert.deepEqual([report.ownReads.stale, report.ownReads.backwards], [0, 0]);
    assert.equal(report.leaderAfter, report.leaderBefore);
  });

  test('an abort ends a pause of replay at once, and leaves nothing behind on the follower', async () => {
    await cluster.untilInStep();
    const { id } = await post('lag', '{"seconds":30}');
    const { nodes, leader } = await cluster.status();
    const follower = nodes.find((node) => node.node !== leader?.node);
    const direct = new Client(`postgres://postgres:postgres@${follower?.address}/postgres`);
    await direct.connect();
    const paused = async () =>
      (await direct.query('SELECT pg_is_wal_replay_paused() AS is')).rows[0] as { is: boolean };
    await cluster.until('replay is paused', async () => (await paused()).is);
    const now = await (await fetch(`http://127.0.0.1:${cluster.httpPort}/drills/now`)).json();
    const { running, lines } = now as { running: { id: string } | null; lines: string[] };
    assert.equal(running?.id, id);
    assert.match(lines.join('\n'), /now: /);
    const asked = await cluster.cli('drill', 'abort');
    assert.match(asked.output, new RegExp(`asked drill ${id} to end`));
    await cluster.until('replay goes on', async () => !(await paused()).is, 10_000);
    const { rows } = await direct.query("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'");
    assert.deepEqual(rows, []);
    await direct.end();
    const kept = async () => (await cluster.cli('drill', 'show', id)).output;
    await cluster.until('the report is kept', async () => /the drill was aborted; /.test(await kept()), 15_000);
  });

  test('a leader whose agent loses etcd is replaced, and rejoins when it is back', async (t) => {
    const report = await drill('partition', '--seconds', '5');
    t.diagnostic(report.timeline.map((one) => `${Math.round(one.atMs)} ms ${one.text}`).join('; '));
    assert.notEqual(report.leaderAfter, report.leaderBefore);
    assert.ok((report.writes.stallMs ?? 0) > 1500);
  });

  test('by console: a switchover without an error, told step by step; who may only look may not', async () => {
    await cluster.untilInStep();
    const admin = new Client({ connectionString: cluster.dsn.replace(/app$/, 'leasehold') });
    await admin.connect();
    const notices: string[] = [];
    admin.on('notice', ({ message }) => notices.push(message ?? ''));
    await admin.query('DRILL switchover');
    assert.match(notices.at(-1) ?? '', /the drill passed: .*no client saw an error/);
    const { rows } = await admin.query<{ kind: string; outcome: string }>('SHOW DRILLS');
    assert.deepEqual([rows[0]?.kind, rows[0]?.outcome, rows.length], ['switchover', 'passed', 5]);
    await admin.end();
  });

  test('a proxy that steps aside sends its clients to the other, and takes them again', async () => {
    await cluster.until('both proxies are known', async () => (await cluster.status()).proxies.length === 2);
    const report = await drill('proxy', '--seconds', '2');
    assert.ok(report.reconnects > 0);
    assert.ok((report.writes.stallMs ?? Infinity) < 5000);
    const before = report.plan.target;
    const alone = await cluster.cli('drill', 'proxy', '--dry-run', '--proxy', report.proxy);
    assert.match(alone.output, new RegExp(`${report.proxy} runs the drill and cannot leave.*${before}`));
  });

  test('a frozen PostgreSQL goes on though the proxy that ran the drill was killed', async () => {
    await cluster.untilInStep();
    const { postgresPid } = await cluster.leader();
    await post('freeze', '{"seconds":1}');
    await cluster.until('it is stopped', () => stateOf(postgresPid) === 'T');
    process.kill(proxyPid(cluster), 'SIGKILL');
    await cluster.until('it goes on', () => stateOf(postgresPid) !== 'T');
    const samePid = async () => (await cluster.leader()).postgresPid === postgresPid;
    await cluster.until('the same PostgreSQL leads on', samePid);
  });
});

function stateOf(pid: number | null): string {
  return /^\d+ \(.*\) (\S)/s.exec(readFileSync(`/proc/${pid}/stat`, 'latin1'))?.[1] ?? '?';
}

function config(cluster: LocalCluster): string {
  return readFileSync(join(cluster.dir, 'cluster/config/proxy1.yaml'), 'utf8');
}

function apiToken(cluster: LocalCluster): string {
  return /apiToken: (\S+)/.exec(config(cluster))?.[1] ?? '';
}

/** Of the first proxy, which answers `httpPort`. */
function proxyPid(cluster: LocalCluster): number {
  const file = join(cluster.dir, 'cluster/config/proxy1.yaml');
  const pid = readdirSync('/proc').find((entry) => /^\d+$/.test(entry) && commandLine(entry).includes(file));
  assert.ok(pid !== undefined, `no process has ${file} in its command line`);
  return Number(pid);
}

function commandLine(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'latin1');
  } catch {
    return ''; // gone meanwhile
  }
}
