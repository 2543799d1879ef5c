/** The pieces of which messages are made. */

export function message(type: string, bodyLength: number): Buffer {
  const out = Buffer.allocUnsafe(5 + bodyLength);
  out[0] = type.charCodeAt(0);
  out.writeInt32BE(4 + bodyLength, 1);
  return out;
}

/** A message of the start-up phase, which has no type byte. */
export function request(code: number, bodyLength: number): Buffer {
  const out = Buffer.allocUnsafe(8 + bodyLength);
  out.writeInt32BE(8 + bodyLength, 0);
  out.writeInt32BE(code, 4);
  return out;
}

export function strings(type: string, first: string, second?: string): Buffer {
  const length = Buffer.byteLength(first) + 1 + (second === undefined ? 0 : Buffer.byteLength(second) + 1);
  const out = message(type, length);
  const at = putString(out, 5, first);
  if (second !== undefined) putString(out, at, second);
  return out;
}

export function putString(out: Buffer, at: number, text: string): number {
  const end = at + out.write(text, at);
  out[end] = 0;
  return end + 1;
}
