import { ConfigError, InvariantError, LeaseholdError } from '../../common/errors.ts';

/** 0 done; 1 it failed; 2 the command or the configuration was wrong; 130 interrupted. */
export const EXIT = { ok: 0, failed: 1, usage: 2, interrupted: 130 } as const;

/** What a person reads when a command fails. A stack only for what nobody expected. */
export function explain(error: unknown): { readonly text: string; readonly exitCode: number } {
  if (error instanceof ConfigError) {
    const faults = error.faults.map((fault) => `  ${fault.path}  (${fault.source}): ${fault.message}`);
    const count = faults.length === 1 ? 'a fault' : `${faults.length} faults`;
    return { text: `leasehold: the configuration has ${count}:\n${faults.join('\n')}`, exitCode: EXIT.usage };
  }
  if (error instanceof Error && error.message === 'asked to stop') return { text: '', exitCode: EXIT.interrupted };
  if (isAbort(error)) return { text: '', exitCode: EXIT.interrupted };
  if (error instanceof LeaseholdError && !(error instanceof InvariantError)) {
    return { text: `leasehold: ${error.message}`, exitCode: error.code === 'USAGE' ? EXIT.usage : EXIT.failed };
  }
  return {
    text: `leasehold: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`,
    exitCode: EXIT.failed,
  };
}

function isAbort(error: unknown): boolean {
  return error instanceof Error && error.name === 'AbortError';
}
