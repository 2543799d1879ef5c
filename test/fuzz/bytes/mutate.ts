import type { Random } from '../../simulation/random.ts';

const LENGTHS = [
  0, 1, 3, 4, 5, 7, 8, 255, 65_535, 65_536, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 0x4000_0000, 1_000_000,
] as const;
/** Types of both directions, and what is no type. */
const TYPES = Buffer.from('QPBDECSHXFcdfpRKZTtnI123sVNAGW\0\xff\x7f', 'latin1');

/** Bytes that are nearly, hardly or not at all what a client would send. `valid`: whole messages. */
export function mutate(random: Random, valid: readonly Buffer[]): Buffer {
  const all = Buffer.concat(valid);
  switch (random.below(9)) {
    case 0:
      return noise(random, 1 + random.below(400));
    case 1:
      return all.subarray(0, random.below(all.length + 1));
    case 2:
      return flipped(random, all);
    case 3:
      return relengthed(random, valid);
    case 4:
      return retyped(random, valid);
    case 5:
      return Buffer.concat([...valid].sort(() => random.fraction() - 0.5));
    case 6:
      return Buffer.concat([all, noise(random, 1 + random.below(20))]);
    case 7:
      return spliced(random, all);
    default:
      return header(random);
  }
}

export function noise(random: Random, length: number): Buffer {
  return Buffer.from(Array.from({ length }, () => random.below(256)));
}

function flipped(random: Random, bytes: Buffer): Buffer {
  const out = Buffer.from(bytes);
  const times = 1 + random.below(4);
  for (let i = 0; i < times && out.length > 0; i++) {
    const at = random.below(out.length);
    out[at] = (out[at] as number) ^ (1 << random.below(8));
  }
  return out;
}

/** One message says another length than it has. */
function relengthed(random: Random, valid: readonly Buffer[]): Buffer {
  const which = random.below(valid.length);
  return Buffer.concat(
    valid.map((message, i) => {
      if (i !== which || message.length < 5) return message;
      const out = Buffer.from(message);
      out.writeUInt32BE(LENGTHS[random.below(LENGTHS.length)] ?? 0, 1);
      return out;
    }),
  );
}

function retyped(random: Random, valid: readonly Buffer[]): Buffer {
  const out = Buffer.concat(valid.map((message) => Buffer.from(message)));
  if (out.length > 0) out[0] = TYPES[random.below(TYPES.length)] ?? 0;
  return out;
}

/** Something in the middle is missing, doubled or other. */
function spliced(random: Random, bytes: Buffer): Buffer {
  const at = random.below(bytes.length + 1);
  const size = random.below(12);
  const middle = random.pick([Buffer.alloc(0), bytes.subarray(at, at + 2 * size), noise(random, size)]);
  return Buffer.concat([bytes.subarray(0, at), middle, bytes.subarray(at + size)]);
}

function header(random: Random): Buffer {
  const out = Buffer.alloc(5 + random.below(30));
  out[0] = TYPES[random.below(TYPES.length)] ?? 0;
  out.writeUInt32BE(LENGTHS[random.below(LENGTHS.length)] ?? 0, 1);
  return out;
}
