import { InvariantError } from './errors.ts';

/** Ends a switch over a discriminated union: the compiler proves it unreachable; at run time it stops the process. */
export function assertNever(value: never, what: string): never {
  throw new InvariantError(`unexpected ${what}: ${JSON.stringify(value)}`);
}
