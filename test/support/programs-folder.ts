import { readdir } from 'node:fs/promises';
import { join } from 'node:path';

/** The folder with PostgreSQL's programs: the newest of Debian's, or what LEASEHOLD_PG_BIN says. */
export async function findBinDir(): Promise<string> {
  const given = process.env['LEASEHOLD_PG_BIN'];
  if (given !== undefined) return given;
  const versions = await readdir('/usr/lib/postgresql').catch(() => []);
  const newest = versions.sort((a, b) => Number(b) - Number(a))[0];
  if (newest === undefined) throw new Error('PostgreSQL is missing');
  return join('/usr/lib/postgresql', newest, 'bin');
}
