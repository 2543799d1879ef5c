import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** The package's version. Its `package.json` is some folders up, how many depends on whether this was compiled. */
export const VERSION: string = findVersion(import.meta.dirname);

function findVersion(folder: string): string {
  try {
    const { name, version } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as Record<string, string>;
    if (name === 'leasehold' && version !== undefined) return version;
  } catch {
    // no package.json here: further up
  }
  const parent = dirname(folder);
  return parent === folder ? 'unknown' : findVersion(parent);
}
