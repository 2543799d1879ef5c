import { isIP } from 'node:net';

/** An address as bytes: 4 or 16. */
export type AddressBytes = readonly number[];

/** Null: no IP address. */
export function addressBytes(text: string): AddressBytes | null {
  const family = isIP(text);
  if (family === 4) return text.split('.').map(Number);
  if (family !== 6 || text.includes('%')) return null;
  const tail = /^(.*:)(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(text);
  const plain = tail === null ? text : `${tail[1]}${pair(tail[2], tail[3])}:${pair(tail[4], tail[5])}`;
  const [head = '', rest] = plain.split('::');
  const left = groups(head);
  const right = rest === undefined ? [] : groups(rest);
  const zeros = Array.from({ length: 8 - left.length - right.length }, () => 0);
  return [...left, ...zeros, ...right].flatMap((group) => [group >> 8, group & 0xff]);
}

/** The mask of so many leading bits. */
export function maskOf(bits: number, bytes: number): AddressBytes {
  return Array.from({ length: bytes }, (_, index) => {
    const left = Math.max(0, Math.min(8, bits - 8 * index));
    return (0xff << (8 - left)) & 0xff;
  });
}

export function isInRange(address: AddressBytes, base: AddressBytes, mask: AddressBytes): boolean {
  if (address.length !== base.length || base.length !== mask.length) return false;
  return address.every((byte, index) => ((byte ^ (base[index] as number)) & (mask[index] as number)) === 0);
}

function groups(text: string): number[] {
  return text === '' ? [] : text.split(':').map((group) => Number.parseInt(group, 16));
}

function pair(high: string | undefined, low: string | undefined): string {
  return ((Number(high) << 8) | Number(low)).toString(16);
}
