import { lookup, reverse } from 'node:dns/promises';

/** IPv4 that came to a listener for both families is IPv4: `::ffff:10.0.0.1`. */
export function plainAddress(address: string | undefined): string | null {
  if (address === undefined) return null;
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address);
  return mapped?.[1] ?? address.replace(/%.*$/, '');
}

/**
 * Whether an address has this name, as pg_hba.conf means it: the name that the address resolves to must be the one (or end with it,
 * where it begins with a dot), and must resolve back to the address.
 */
export async function hasHostName(address: string | null, wanted: string): Promise<boolean> {
  if (address === null) return false;
  const names = await reverse(address).catch(() => []);
  const fitting = names.filter((name) => fits(name.toLowerCase(), wanted.toLowerCase()));
  for (const name of fitting.slice(0, 5)) {
    const addresses = await lookup(name, { all: true }).catch(() => []);
    if (addresses.some((each) => plainAddress(each.address) === address)) return true;
  }
  return false;
}

function fits(name: string, wanted: string): boolean {
  return wanted.startsWith('.') ? name.endsWith(wanted) : name === wanted;
}
