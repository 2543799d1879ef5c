import * as encode from '../../proxy/wire/encode.ts';

/** One exchange: what is sent at once, and the message types that end its answer (how many of them). */
export interface Step {
  readonly send: readonly Buffer[];
  readonly until: string;
  readonly count: number;
}

const { bind, describe, execute, query, SYNC } = encode;

export const parse = (name: string, text: string): Buffer => encode.parse(name, Buffer.from(text));
export const copyData = (text: string): Buffer => message('d', Buffer.from(text));
export const COPY_DONE = message('c', Buffer.alloc(0));
export const copyFail = (why: string): Buffer => message('f', Buffer.from(`${why}\0`));

export function message(type: string, body: Buffer): Buffer {
  const out = Buffer.alloc(5 + body.length);
  out.write(type, 0, 'latin1');
  out.writeInt32BE(4 + body.length, 1);
  body.copy(out, 5);
  return out;
}

/** A Bind with text parameters. */
export function bindText(portal: string, statement: string, values: readonly string[]): Buffer {
  const head = Buffer.alloc(4);
  head.writeInt16BE(values.length, 2);
  const parts = values.map((value) => {
    const size = Buffer.alloc(4);
    size.writeInt32BE(Buffer.byteLength(value));
    return Buffer.concat([size, Buffer.from(value)]);
  });
  return bind(portal, statement, Buffer.concat([head, ...parts, Buffer.alloc(2)]));
}

export const step = (send: readonly Buffer[], until: string, count: number): Step => ({ send, until, count });
/** One text by the simple protocol. */
export const q = (text: string): Step => step([query(text)], 'Z', 1);
export const texts = (...list: string[]): Step[] => list.map((text) => q(text));
export const sync = (...send: Buffer[]): Step => step([...send, SYNC], 'Z', 1);
export const run = (text: string, ...values: string[]): Step =>
  sync(parse('', text), bindText('', '', values), describe('P', ''), execute(''));
