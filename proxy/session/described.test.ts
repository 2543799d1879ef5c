import assert from 'node:assert/strict';
import { test } from 'node:test';
import { columnsOf } from './described.ts';

const column = (name: string, table: number, type: number, modifier = -1): Buffer => {
  const rest = Buffer.alloc(18);
  rest.writeInt32BE(table, 0);
  rest.writeInt16BE(table, 4);
  rest.writeInt32BE(type, 6);
  rest.writeInt16BE(4, 10);
  rest.writeInt32BE(modifier, 12);
  return Buffer.concat([Buffer.from(`${name}\0`), rest]);
};

function description(...columns: readonly Buffer[]): Buffer {
  const head = Buffer.alloc(7);
  head.write('T');
  head.writeInt16BE(columns.length, 5);
  const all = Buffer.concat([head, ...columns]);
  all.writeInt32BE(all.length - 1, 1);
  return all;
}

const of = (message: Buffer): string | null => columnsOf(message, 0, message.length);

test('columns are the same by name, type and modifier, whichever table they are of', () => {
  const one = of(description(column('a', 1, 23), column('b', 1, 1043, 14)));
  assert.notEqual(one, null);
  assert.equal(of(description(column('a', 9, 23), column('b', 9, 1043, 14))), one);
  for (const other of [
    description(column('a', 1, 23)),
    description(column('a', 1, 20), column('b', 1, 1043, 14)),
    description(column('a', 1, 23), column('b', 1, 1043, 24)),
    description(column('a', 1, 23), column('c', 1, 1043, 14)),
    Buffer.from([0x6e, 0, 0, 0, 4]),
  ]) {
    assert.notEqual(of(other), one);
  }
});

test('a description of which only a part is there is not compared', () => {
  const message = description(column('a', 1, 23), column('b', 1, 25));
  assert.equal(columnsOf(message, 0, message.length - 5), null);
});
