import { existsSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
/** `.ts` in a checkout, `.js` in the compiled package. */
const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';

/** Whether this runs from the sources, not from an installed package. */
export const isCheckout = extension === 'ts';

/** The folder with package.json: one above `ops/` in a checkout, two (`dist/ops/`) in a package. */
export const packageRoot = existsSync(join(here, '..', 'package.json')) ? dirname(here) : dirname(dirname(here));

export const cliFile = join(here, `cli.${extension}`);
export const leashFile = join(here, 'local', `leash-main.${extension}`);

/** `.cache` of a checkout, `~/.cache/leasehold` of an installed package; LEASEHOLD_CACHE names another. */
export function cacheFolder(env: NodeJS.ProcessEnv): string {
  const named = env['LEASEHOLD_CACHE'];
  if (named !== undefined && named !== '') return named;
  if (isCheckout) return join(packageRoot, '.cache');
  return join(env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'leasehold');
}

/** For Node's compile cache: with it a process starts in half the time and with less memory. */
export function compileCacheFolder(env: NodeJS.ProcessEnv): string {
  return join(cacheFolder(env), 'compiled');
}

export function packageVersion(): string {
  return (JSON.parse(readFileSync(join(packageRoot, 'package.json'), 'utf8')) as { version: string }).version;
}
