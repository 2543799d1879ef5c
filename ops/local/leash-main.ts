// A tiny process between `leasehold up` and a program that cannot notice its parent's death by itself (etcd):
//   node leash-main.ts <program> <arguments…>
// It runs the program, passes SIGTERM and SIGINT on, and stops it when the parent is gone, however it went.
import { spawn } from 'node:child_process';
import { constants } from 'node:os';

/** Agents stop their PostgreSQL first, and do it better while etcd still answers. */
const LINGER_MS = 1500;
const TERM_MS = 3000;

const [program, ...args] = process.argv.slice(2);
if (program === undefined || !process.connected) {
  process.stderr.write('leash: runs below "leasehold up" only\n');
  process.exit(2);
}

const child = spawn(program, args, { stdio: ['ignore', 'inherit', 'inherit'] });
child.on('error', (error) => {
  process.stderr.write(`leash: ${program}: ${error.message}\n`);
  process.exit(1);
});
child.on('exit', (code, signal) => {
  process.exit(signal === null ? (code ?? 1) : 128 + (constants.signals[signal] ?? 0));
});
if (child.pid !== undefined) process.send?.({ type: 'pid', pid: child.pid });

for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => child.kill(signal));
process.on('disconnect', () => {
  setTimeout(() => child.kill('SIGTERM'), LINGER_MS);
  setTimeout(() => child.kill('SIGKILL'), LINGER_MS + TERM_MS);
});
