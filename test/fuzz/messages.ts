import * as encode from '../../proxy/wire/encode.ts';

/** One message of a client, as data: printed, shrunk, and sent. Binary values are given in hexadecimal. */
export type Message =
  | { readonly type: 'query'; readonly sql: string }
  | { readonly type: 'parse'; readonly name: string; readonly sql: string; readonly oids: readonly number[] }
  | {
      readonly type: 'bind';
      readonly portal: string;
      readonly statement: string;
      readonly formats: readonly number[];
      readonly values: readonly (string | null)[];
      readonly results: readonly number[];
    }
  | { readonly type: 'describe' | 'close'; readonly kind: 'S' | 'P'; readonly name: string }
  | { readonly type: 'execute'; readonly portal: string; readonly maxRows: number }
  | { readonly type: 'call'; readonly oid: number; readonly values: readonly string[] }
  | { readonly type: 'copy-data' | 'copy-fail'; readonly text: string }
  | { readonly type: 'flush' | 'sync' | 'copy-done' };

/** A message, or: wait here until everything sent is answered. */
export type Item = Message | { readonly type: 'wait' };

export function encodeMessage(message: Message): Buffer {
  switch (message.type) {
    case 'query':
      return encode.query(message.sql);
    case 'parse':
      return encode.parse(message.name, Buffer.from(message.sql), int16Then32(message.oids));
    case 'bind':
      return encode.bind(message.portal, message.statement, bindTail(message));
    case 'describe':
      return encode.describe(message.kind, message.name);
    case 'close':
      return encode.close(message.kind, message.name);
    case 'execute':
      return encode.execute(message.portal, message.maxRows);
    case 'call':
      return framed('F', callBody(message.oid, message.values));
    case 'copy-data':
      return framed('d', Buffer.from(message.text));
    case 'copy-fail':
      return framed('f', Buffer.from(`${message.text}\0`));
    case 'copy-done':
      return framed('c', Buffer.alloc(0));
    case 'flush':
      return encode.FLUSH;
    case 'sync':
      return encode.SYNC;
  }
}

/** As a line of `protocol-scripts.ts` would say it. */
export function printItem(item: Item): string {
  const s = (text: string): string => JSON.stringify(text);
  switch (item.type) {
    case 'wait':
      return '── wait';
    case 'query':
      return `query(${s(item.sql)})`;
    case 'parse':
      return `parse(${s(item.name)}, ${s(item.sql)}${item.oids.length > 0 ? `, oids ${item.oids.join()}` : ''})`;
    case 'bind': {
      const formats =
        item.formats.length + item.results.length > 0 ? ` formats ${item.formats.join()} → ${item.results.join()}` : '';
      return `bind(${s(item.portal)}, ${s(item.statement)}, ${JSON.stringify(item.values)}${formats})`;
    }
    case 'describe':
    case 'close':
      return `${item.type}('${item.kind}', ${s(item.name)})`;
    case 'execute':
      return `execute(${s(item.portal)}, ${item.maxRows})`;
    case 'call':
      return `call(${item.oid}, ${JSON.stringify(item.values)})`;
    case 'copy-data':
    case 'copy-fail':
      return `${item.type}(${s(item.text)})`;
    default:
      return item.type;
  }
}

export function framed(type: string, body: Buffer): Buffer {
  const out = Buffer.alloc(5 + body.length);
  out.write(type, 0, 'latin1');
  out.writeInt32BE(4 + body.length, 1);
  body.copy(out, 5);
  return out;
}

function int16s(values: readonly number[]): Buffer {
  const out = Buffer.alloc(2 + 2 * values.length);
  out.writeInt16BE(values.length, 0);
  values.forEach((value, i) => out.writeInt16BE(value, 2 + 2 * i));
  return out;
}

function int16Then32(values: readonly number[]): Buffer {
  const out = Buffer.alloc(2 + 4 * values.length);
  out.writeInt16BE(values.length, 0);
  values.forEach((value, i) => out.writeInt32BE(value, 2 + 4 * i));
  return out;
}

function sized(value: Buffer | null): Buffer {
  const size = Buffer.alloc(4);
  size.writeInt32BE(value === null ? -1 : value.length);
  return value === null ? size : Buffer.concat([size, value]);
}

function bindTail(message: Message & { readonly type: 'bind' }): Buffer {
  const { formats, values, results } = message;
  const isBinary = (i: number): boolean => (formats.length === 1 ? formats[0] : formats[i]) === 1;
  const count = Buffer.alloc(2);
  count.writeInt16BE(values.length);
  const parts = values.map((value, i) =>
    sized(value === null ? null : Buffer.from(value, isBinary(i) ? 'hex' : 'utf8')),
  );
  return Buffer.concat([int16s(formats), count, ...parts, int16s(results)]);
}

/** Arguments and result in binary. */
function callBody(oid: number, values: readonly string[]): Buffer {
  const head = Buffer.alloc(4);
  head.writeInt32BE(oid);
  const count = Buffer.alloc(2);
  count.writeInt16BE(values.length);
  return Buffer.concat([
    head,
    int16s([1]),
    count,
    ...values.map((value) => sized(Buffer.from(value, 'hex'))),
    Buffer.from([0, 1]),
  ]);
}
