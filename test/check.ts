import { spawn } from 'node:child_process';
import { globSync } from 'node:fs';
import { join, resolve } from 'node:path';

/** `npm run check`: format, lint, types and the fast tests, side by side, in under a minute. */
const ROOT = resolve(import.meta.dirname, '..');
const bin = (name: string): string => join(ROOT, 'node_modules/.bin', name);

interface Step {
  readonly name: string;
  readonly command: readonly [string, ...string[]];
}

const fastTests = globSync('{common,election,replication-monitor,proxy,ops,bench}/**/*.test.ts', { cwd: ROOT });
const steps: readonly Step[] = [
  { name: 'format', command: [bin('biome'), 'format', '.'] },
  { name: 'lint', command: [bin('oxlint'), '--type-aware', '--deny-warnings'] },
  { name: 'types', command: [bin('tsc'), '-p', '.'] },
  {
    name: 'tests',
    command: [
      process.execPath,
      '--test',
      '--test-reporter=dot',
      '--test-concurrency=2',
      'test/tidy.test.ts',
      'test/routing-coverage.test.ts',
      ...fastTests,
    ],
  },
];

const startedMs = performance.now();
const results = await Promise.all(steps.map(run));
for (const result of results.filter((r) => r.code !== 0)) {
  process.stdout.write(`\n── ${result.name} failed ──\n${result.output.trimEnd()}\n`);
}
for (const result of results) {
  process.stdout.write(
    `${result.code === 0 ? 'ok    ' : 'FAILED'} ${result.name} (${(result.ms / 1000).toFixed(1)} s)\n`,
  );
}
process.stdout.write(`check took ${((performance.now() - startedMs) / 1000).toFixed(1)} s\n`);
process.exitCode = results.every((r) => r.code === 0) ? 0 : 1;

function run(step: Step): Promise<{ name: string; code: number; output: string; ms: number }> {
  const started = performance.now();
  return new Promise((done) => {
    const [program, ...args] = step.command;
    // The tools' own launchers ask for `node`: they get the one that runs this file.
    const path = `${join(process.execPath, '..')}:${process.env['PATH'] ?? ''}`;
    const child = spawn(program, args, { cwd: ROOT, env: { ...process.env, PATH: path } });
    const output: Buffer[] = [];
    child.stdout.on('data', (chunk: Buffer) => output.push(chunk));
    child.stderr.on('data', (chunk: Buffer) => output.push(chunk));
    child.on('error', (error) => output.push(Buffer.from(error.message)));
    child.on('close', (code) => {
      done({
        name: step.name,
        code: code ?? 1,
        output: Buffer.concat(output).toString(),
        ms: performance.now() - started,
      });
    });
  });
}
