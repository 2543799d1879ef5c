import { type Column, INT8_OID } from './columns.ts';

const TEXT_OID = 25;

/** Which of a result's columns are wanted in binary: one code for all, or one for each. */
export type Formats = readonly number[];

export const TEXT_FORMATS: Formats = [];

/** The result formats at the end of a Bind; `tailStart` as `decodeBind` gives it. */
export function resultFormats(buffer: Buffer, tailStart: number): Formats {
  let at = tailStart + 2 + 2 * buffer.readUInt16BE(tailStart);
  const parameters = buffer.readUInt16BE(at);
  at += 2;
  for (let i = 0; i < parameters; i += 1) at += 4 + Math.max(0, buffer.readInt32BE(at));
  const count = buffer.readUInt16BE(at);
  return Array.from({ length: count }, (_, i) => buffer.readInt16BE(at + 2 + 2 * i));
}

export function describeColumns(columns: readonly Column[], formats: Formats): Buffer {
  const fields = columns.map(({ name, kind }, i) => {
    const field = Buffer.alloc(18);
    field.writeInt32BE(kind === 'int' ? INT8_OID : TEXT_OID, 6);
    field.writeInt16BE(kind === 'int' ? 8 : -1, 10);
    field.writeInt32BE(-1, 12);
    field.writeInt16BE(formatOf(formats, i), 16);
    return Buffer.concat([Buffer.from(`${name}\0`), field]);
  });
  return framed('T', columns.length, fields);
}

export function rowOf(columns: readonly Column[], values: readonly (string | null)[], formats: Formats): Buffer {
  const fields = values.map((value, i) => {
    if (value === null) return NULL;
    const binary = columns[i]?.kind === 'int' && formatOf(formats, i) === 1;
    const bytes = binary ? int8(value) : Buffer.from(value);
    const length = Buffer.alloc(4);
    length.writeInt32BE(bytes.length);
    return Buffer.concat([length, bytes]);
  });
  return framed('D', values.length, fields);
}

const NULL = Buffer.from([0xff, 0xff, 0xff, 0xff]);

function formatOf(formats: Formats, column: number): number {
  return (formats.length === 1 ? formats[0] : formats[column]) ?? 0;
}

function int8(value: string): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64BE(BigInt(value));
  return bytes;
}

function framed(type: string, count: number, fields: readonly Buffer[]): Buffer {
  const head = Buffer.alloc(7);
  head.write(type, 'latin1');
  head.writeInt16BE(count, 5);
  const message = Buffer.concat([head, ...fields]);
  message.writeInt32BE(message.length - 1, 1);
  return message;
}
