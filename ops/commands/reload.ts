import { z } from 'zod';
import { LeaseholdError } from '../../common/errors.ts';
import { type ApiOptions, openApi, print } from './context.ts';

const report = z.looseObject({ changed: z.array(z.string()), needsRestart: z.array(z.string()) });
const drained = z.looseObject({ clients: z.number() });

/** Has one proxy read its configuration again. Its faults, if any, are the error's text. */
export async function reloadCommand(options: ApiOptions): Promise<void> {
  const parsed = report.safeParse(await openApi(options).post('/reload', {}));
  if (!parsed.success) throw new LeaseholdError('API', 'the answer of /reload is not what this version expects');
  print(reloadText(parsed.data));
}

/** Exported for its test. */
export function reloadText({ changed, needsRestart }: z.output<typeof report>): string {
  const lines = changed.length === 0 ? ['nothing changed'] : ['in force now:', ...changed.map((path) => `  ${path}`)];
  if (needsRestart.length > 0) {
    lines.push('differs from what the proxy was started with, and needs a restart:');
    lines.push(...needsRestart.map((path) => `  ${path}`));
  }
  return lines.join('\n');
}

export async function drainCommand(options: ApiOptions): Promise<void> {
  const parsed = drained.safeParse(await openApi(options).post('/drain', {}));
  if (!parsed.success) throw new LeaseholdError('API', 'the answer of /drain is not what this version expects');
  print(`the proxy takes no new clients; ${parsed.data.clients} were connected`);
}
