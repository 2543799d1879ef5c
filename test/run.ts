import { globSync, mkdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { finished } from 'node:stream/promises';
import { run } from 'node:test';
import { spec } from 'node:test/reporters';
import { acquireEngine } from './containers/engine.ts';
import { ensureBaseImages, ensureCompose } from './containers/images.ts';
import { provideDriver, providePrograms } from './support/programs.ts';

/**
 * `npm test`: every part that this machine can run, in order; what it cannot run is said by name, and is a failure
 * with LEASEHOLD_REQUIRE=all. `npm test -- unit integration` runs the named parts only.
 */
const ROOT = resolve(import.meta.dirname, '..');
const CACHE = join(ROOT, '.cache');
const requireAll = process.env['LEASEHOLD_REQUIRE'] === 'all';

interface Part {
  readonly name: string;
  readonly files: string;
  /** Test files at once. Servers under test get the processors to themselves. */
  readonly concurrency: number;
  /** Null when the part can run, else why not. What it started is stopped by the function it registers. */
  readonly prepare: (atEnd: (stop: () => Promise<void>) => void) => Promise<string | null>;
}

const parts: readonly Part[] = [
  {
    name: 'unit',
    files:
      '{common,election,replication-monitor,proxy,ops,bench,test}/{*.test.ts,!(integration|containers|simulation)/**/*.test.ts}',
    concurrency: 2,
    prepare: async () => null,
  },
  { name: 'simulation', files: 'test/simulation/**/*.test.ts', concurrency: 2, prepare: async () => null },
  {
    name: 'integration',
    files: 'test/integration/**/*.test.ts',
    concurrency: 1,
    prepare: () => providePrograms(say),
  },
  {
    name: 'containers',
    files: 'test/containers/**/*.test.ts',
    concurrency: 1,
    prepare: async (atEnd) => {
      mkdirSync(CACHE, { recursive: true });
      const engine = await acquireEngine({ install: requireAll, logDir: CACHE });
      if (engine.kind === 'absent') return engine.why;
      atEnd(engine.stop);
      return (await ensureBaseImages(ROOT)) ?? ensureCompose(CACHE);
    },
  },
];

interface Tally {
  readonly name: string;
  passed: number;
  failed: number;
  skipped: number;
  readonly notes: string[];
  seconds: number;
}

const wanted = process.argv.slice(2);
const unknown = wanted.filter((name) => !parts.some((part) => part.name === name));
if (unknown.length > 0) {
  say(`no such part: ${unknown.join(', ')} (there are ${parts.map((part) => part.name).join(', ')})`);
  process.exit(2);
}
const tallies: Tally[] = [];
for (const part of parts) {
  if (wanted.length === 0 || wanted.includes(part.name)) tallies.push(await runPart(part));
}
report(tallies);

async function runPart(part: Part): Promise<Tally> {
  const tally: Tally = { name: part.name, passed: 0, failed: 0, skipped: 0, notes: [], seconds: 0 };
  const startedMs = performance.now();
  const stops: (() => Promise<void>)[] = [];
  say(`\n── ${part.name} ──`);
  try {
    const missing = await part.prepare((stop) => stops.push(stop));
    if (missing === null) {
      if (part.name === 'integration') noteMissingDriver(tally);
      await runFiles(part, tally);
    } else lacking(tally, `${part.name}: not run, ${missing}`);
  } finally {
    for (const stop of stops) await stop();
    tally.seconds = (performance.now() - startedMs) / 1000;
  }
  return tally;
}

function noteMissingDriver(tally: Tally): void {
  const missing = provideDriver(requireAll);
  if (missing !== null) lacking(tally, missing);
}

function lacking(tally: Tally, note: string): void {
  tally.notes.push(note);
  if (requireAll) tally.failed++;
}

async function runFiles(part: Part, tally: Tally): Promise<void> {
  const files = globSync(part.files, { cwd: ROOT }).map((file) => join(ROOT, file));
  const events = run({ files, concurrency: part.concurrency, cwd: ROOT });
  events.on('test:pass', (event) => {
    if (event.details.type === 'suite') return;
    if (event.skip === undefined) tally.passed++;
    else {
      tally.skipped++;
      tally.notes.push(`skipped: ${event.name}${typeof event.skip === 'string' ? ` (${event.skip})` : ''}`);
      if (requireAll) tally.failed++;
    }
  });
  events.on('test:fail', (event) => {
    if (event.details.type === 'suite') return;
    tally.failed++;
    tally.notes.push(`failed: ${event.name}`);
  });
  const output = events.compose(spec);
  output.pipe(process.stdout, { end: false });
  await finished(output);
}

function report(all: readonly Tally[]): void {
  say('\n── summary ──');
  for (const tally of all) {
    const counts = `${tally.passed} passed, ${tally.failed} failed, ${tally.skipped} skipped`;
    say(`${tally.name.padEnd(12)} ${counts} in ${tally.seconds.toFixed(0)} s`);
    for (const note of tally.notes) say(`             ${note}`);
  }
  const sum = (key: 'passed' | 'failed' | 'skipped'): number => all.reduce((total, tally) => total + tally[key], 0);
  if (sum('failed') > 0 && requireAll) say('(LEASEHOLD_REQUIRE=all: what could not be run counts as failed)');
  say(`${sum('passed')} passed, ${sum('failed')} failed, ${sum('skipped')} skipped`);
  process.exitCode = sum('failed') === 0 && sum('passed') > 0 ? 0 : 1;
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
