import { chownSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { cacheFolder } from '../../ops/paths.ts';
import { findPostgres, probePostgres, usualFolders } from '../../ops/setup/find.ts';
import { isReachable, postgresUser } from '../../ops/setup/os-user.ts';
import { providePrograms } from '../support/programs.ts';
import { compare, type Difference, type Explained, renderTable, type Tally, tally } from './compare.ts';
import { IN_ROOT, rootedMajors, runInRoot } from './debian-root.ts';
import { explainedOf, readExplained } from './explained.ts';
import type { Side, Suite, TestResult } from './suite.ts';
import { suites } from './suites.ts';
import { type RunningTarget, startTarget } from './targets.ts';

/**
 * `npm run test:conformance [-- suite …] [--side transaction] [--postgres 18]`: programs that others wrote, against a
 * plain server and through the proxy. The exit code is 0 when every difference is explained, and every explanation still needed.
 */
const SIDES: readonly Side[] = ['direct', 'transaction', 'session'];

interface Row {
  readonly suite: string;
  readonly side: string;
  readonly tally: Tally;
  readonly seconds: number;
}

interface Findings {
  readonly rows: Row[];
  readonly differences: { readonly suite: string; readonly difference: Difference }[];
  readonly outdated: Explained[];
  /** What keeps the run from being a proof: a suite that could not run, a side that broke off. */
  readonly faults: string[];
}

let running: RunningTarget | null = null;
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void stopEarly(signal));

const { suitesWanted, sidesWanted, majorWanted } = readArguments();
if (majorWanted !== null && !(await useInstalled(majorWanted))) process.exit(await runElsewhere(majorWanted));
const missing = await providePrograms(say);
if (missing !== null) fail(`PostgreSQL and etcd are needed: ${missing}`);
const major = await majorOf(process.env['LEASEHOLD_PG_BIN'] ?? '');
const explained = explainedOf(major, readExplained());
const root = workFolder();
const findings: Findings = { rows: [], differences: [], outdated: [], faults: [] };
for (const suite of suitesWanted) await runSuite(suite);
report();

/** Whether this system has that version; then it is the one of the run. */
async function useInstalled(wanted: number): Promise<boolean> {
  const { install } = await findPostgres(process.env, usualFolders(), wanted);
  if (install !== null) process.env['LEASEHOLD_PG_BIN'] = install.binDir;
  return install !== null;
}

async function runElsewhere(wanted: number): Promise<number> {
  if (process.env[IN_ROOT] !== undefined) fail(`PostgreSQL ${wanted} is not in its own root`);
  const ended = await runInRoot(wanted, process.argv.slice(2), say);
  return typeof ended === 'number' ? ended : fail(`PostgreSQL ${wanted} is not installed, and ${ended}`);
}

async function majorOf(binDir: string): Promise<number> {
  const install = await probePostgres(binDir, process.env['LEASEHOLD_PG_LIB'] ?? null);
  return typeof install === 'string' ? fail(install) : Number.parseInt(install.version, 10);
}

async function runSuite(suite: Suite): Promise<void> {
  const work = join(root, suite.name);
  mkdirSync(work, { recursive: true, mode: 0o755 });
  say(`\n── ${suite.name} ──`);
  const why = await suite.prepare(work).catch((error: unknown) => String(error));
  if (why !== null) {
    findings.faults.push(`${suite.name}: not run, ${why}`);
    return;
  }
  const pooling: readonly Side[] = suite.pooling ?? ['transaction'];
  const sides = SIDES.filter((side) => (side === 'direct' || pooling.includes(side)) && sidesWanted.includes(side));
  const bySide = new Map<Side, readonly TestResult[]>();
  for (const side of sides) {
    const results = await runSide(suite, side, work);
    if (results !== null) bySide.set(side, results);
  }
  const direct = bySide.get('direct');
  if (direct === undefined) return;
  if (tally(direct).passed === 0) findings.faults.push(`${suite.name}: nothing passed on a plain server`);
  for (const [side, results] of bySide) {
    if (side === 'direct') continue;
    const { differences, outdated } = compare(suite.name, side, direct, results, explained);
    findings.differences.push(...differences.map((difference) => ({ suite: suite.name, difference })));
    findings.outdated.push(...outdated);
  }
}

async function runSide(suite: Suite, side: Side, work: string): Promise<readonly TestResult[] | null> {
  const output = join(work, 'output', side);
  const startedMs = performance.now();
  try {
    running = await startTarget(side, suite, output);
    const results = await suite.run(running.target, work);
    const disturbed = await running.disturbed();
    if (disturbed !== null) findings.faults.push(`${suite.name}, ${side}: ${disturbed}`);
    const seconds = (performance.now() - startedMs) / 1000;
    writeFileSync(join(output, 'results.json'), `${JSON.stringify(results, null, 1)}\n`);
    const counts = tally(results);
    findings.rows.push({ suite: suite.name, side, tally: counts, seconds });
    say(`${side}: ${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped (${output})`);
    for (const { test, outcome, detail } of results) {
      if (outcome === 'failed') say(`  failed: ${test}${detail === '' ? '' : `: ${detail.split('\n')[0]}`}`);
    }
    return results;
  } catch (error) {
    findings.faults.push(`${suite.name}, ${side}: broke off, ${String(error)} (${output})`);
    say(`${side}: broke off, ${String(error)}`);
    return null;
  } finally {
    if (running !== null) writeFileSync(join(output, 'cluster.txt'), running.log());
    await running?.stop();
    running = null;
  }
}

function report(): void {
  say(`\n── conformance ──\n${renderTable(findings.rows)}\n`);
  const unexplained = findings.differences.filter(({ difference }) => difference.why === null);
  for (const { suite, difference } of findings.differences) {
    const { test, side, direct, proxy, detail, why } = difference;
    const verdict = why === null ? 'UNEXPLAINED' : 'explained  ';
    say(`${verdict} ${suite} ${test}, ${side} pooling: ${proxy}, direct: ${direct}`);
    for (const line of (why ?? detail).split('\n').slice(0, 8)) say(`            ${line}`);
  }
  for (const { suite, test } of findings.outdated)
    say(`OUTDATED    ${suite} ${test}: explained, and no difference now`);
  for (const fault of findings.faults) say(`FAULT       ${fault}`);
  const bad = unexplained.length + findings.outdated.length + findings.faults.length;
  const said = findings.differences.length - unexplained.length;
  say(`${unexplained.length} unexplained differences, ${said} explained; all output is in ${root}`);
  process.exitCode = bad === 0 && findings.rows.length > 0 ? 0 : 1;
}

interface Arguments {
  readonly suitesWanted: readonly Suite[];
  readonly sidesWanted: readonly Side[];
  readonly majorWanted: number | null;
}

function readArguments(): Arguments {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { side: { type: 'string', multiple: true, default: [...SIDES] }, postgres: { type: 'string' } },
  });
  const unknown = positionals.filter((name) => !suites.some((suite) => suite.name === name));
  if (unknown.length > 0) {
    fail(`no such suite: ${unknown.join(', ')} (there are ${suites.map((suite) => suite.name).join(', ')})`);
  }
  const sides = SIDES.filter((side) => values.side.includes(side));
  if (sides.length < new Set(values.side).size) fail(`--side is one of ${SIDES.join(', ')}`);
  const wanted = suites.filter((suite) => positionals.length === 0 || positionals.includes(suite.name));
  const majorWanted = values.postgres === undefined ? null : Number(values.postgres);
  if (majorWanted !== null && !rootedMajors.includes(majorWanted))
    fail(`--postgres is one of ${rootedMajors.join(', ')}`);
  return { suitesWanted: wanted, sidesWanted: sides, majorWanted };
}

/** In the cache; elsewhere when PostgreSQL's own user, as whom servers and clients run, cannot get there. */
function workFolder(): string {
  const user = postgresUser();
  const own = join(cacheFolder(process.env), 'conformance');
  const folder = user === null || isReachable(own, user) ? own : '/var/cache/leasehold/conformance';
  mkdirSync(folder, { recursive: true, mode: 0o755 });
  if (user !== null) chownSync(folder, user.uid, user.gid);
  return folder;
}

async function stopEarly(signal: NodeJS.Signals): Promise<void> {
  say(`${signal}: stopping`);
  await running?.stop();
  process.exit(1);
}

function fail(message: string): never {
  process.stderr.write(`${message}\n`);
  process.exit(2);
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
