import { existsSync, readFileSync } from 'node:fs';
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

export function packageVersion(): string {
  return (JSON.parse(readFileSync(join(packageRoot, 'package.json'), 'utf8')) as { version: string }).version;
}
