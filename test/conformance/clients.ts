import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type ClientProgram, clientPrograms, prepareClients } from './client-programs.ts';
import { ClientProcess } from './client-process.ts';
import { appEnv } from './logged.ts';
import { PATIENT, type Suite, type TestResult } from './suite.ts';
import { makeFolder } from './targets.ts';

/** What every program does by itself, in this order. */
const ALONE = [
  'connect',
  'types',
  'transactions',
  'prepared',
  'pipeline',
  'copy',
  'cancel',
  'error',
  'read-your-writes',
  'large',
  'notify',
  'cursor',
];
/** What all of them write through together: one change of the leader for all. */
const CHANGES = ['switchover', 'crash'] as const;
/** They mostly wait: for followers, and for each other in no way. */
const SIDE_BY_SIDE = 4;
const ALONE_MS = 180_000;
const CHANGE_MS = 180_000;
/** From the crash to the signal that it is over: a program that was idle at that moment must write into it. */
const AFTER_CRASH_MS = 2000;

/** Drivers of many languages, each with the same steps. */
export const clients: Suite = {
  name: 'clients',
  settings: PATIENT,
  prepare: async (work) => {
    const state = await prepareClients(work);
    writeFileSync(readyFile(work), JSON.stringify(Object.fromEntries(state), null, 1));
    const reasons = [...state].filter(([, why]) => why !== null).map(([name, why]) => `${name}: ${why}`);
    return reasons.length === state.size ? reasons.join('\n') : null;
  },
  run: async (target, work) => {
    const signals = join(target.output, 'signals');
    makeFolder(signals);
    const state = JSON.parse(readFileSync(readyFile(work), 'utf8')) as Record<string, string | null>;
    const results: TestResult[] = [];
    const able: ClientProgram[] = [];
    for (const client of clientPrograms) {
      const why = state[client.name] ?? null;
      if (why === null) able.push(client);
      else results.push(...[...ALONE, ...CHANGES].map((step) => skipped(client, step, why)));
    }
    const start = (client: ClientProgram, steps: readonly string[], timeoutMs: number): ClientProcess =>
      new ClientProcess({
        name: client.name,
        command: client.command,
        cwd: join(work, 'src', client.folder),
        env: { ...appEnv(target), ...client.env },
        output: target.output,
        signals,
        steps,
        timeoutMs,
      });
    for (let i = 0; i < able.length; i += SIDE_BY_SIDE) {
      const some = able.slice(i, i + SIDE_BY_SIDE).map((client) => start(client, ALONE, ALONE_MS));
      results.push(...(await Promise.all(some.map((each) => each.results))).flat());
    }
    for (const change of CHANGES) {
      const running = able.map((client) => start(client, [change], CHANGE_MS));
      await Promise.all(running.map((each) => each.ready(change)));
      await target[change]();
      if (change === 'crash') await sleep(AFTER_CRASH_MS);
      writeFileSync(join(signals, change), '');
      results.push(...(await Promise.all(running.map((each) => each.results))).flat());
    }
    return results;
  },
};

function readyFile(work: string): string {
  return join(work, 'ready.json');
}

function skipped(client: ClientProgram, step: string, why: string): TestResult {
  return { test: `${client.name} ${step}`, outcome: 'skipped', detail: why };
}
