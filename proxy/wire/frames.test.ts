import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ClientError } from '../../common/errors.ts';
import { FrameReader, type FrameSink, gatherLimits } from './frames.ts';

const LIMITS = gatherLimits('QZ', 40, 'Dd');

function message(type: string, body: Uint8Array): Buffer {
  const out = Buffer.alloc(5 + body.length);
  out.write(type, 0, 'latin1');
  out.writeInt32BE(4 + body.length, 1);
  out.set(body, 5);
  return out;
}

/** Puts parts together again; stops after each message when asked to. */
class Collector implements FrameSink {
  readonly seen: string[] = [];
  readonly stopAfterEach: boolean;
  #parts: Buffer[] = [];
  #open = false;

  constructor(stopAfterEach: boolean) {
    this.stopAfterEach = stopAfterEach;
  }

  onMessage(type: number, buffer: Buffer, start: number, end: number): boolean {
    assert.equal(this.#open, false);
    assert.equal(buffer[start], type);
    this.seen.push(buffer.toString('hex', start, end));
    return !this.stopAfterEach;
  }

  onPart(_type: number, buffer: Buffer, start: number, end: number, first: boolean, last: boolean): boolean {
    assert.equal(first, !this.#open);
    if (first) assert.ok(end - start >= 5);
    this.#parts.push(Buffer.from(buffer.subarray(start, end)));
    this.#open = !last;
    if (last) {
      this.seen.push(Buffer.concat(this.#parts).toString('hex'));
      this.#parts = [];
    }
    return !this.stopAfterEach;
  }
}

const messages = fc.array(fc.tuple(fc.constantFrom('Q', 'Z', 'D', 'd'), fc.uint8Array({ maxLength: 90 })), {
  maxLength: 12,
});

test('any chunking of a stream gives the same messages, stopped or not', () => {
  fc.assert(
    fc.property(messages, fc.array(fc.integer({ min: 1, max: 40 })), fc.boolean(), (list, cuts, stops) => {
      const stream = Buffer.concat(list.map(([type, body]) => message(type, body)));
      const sink = new Collector(stops);
      const reader = new FrameReader(sink, LIMITS);
      let at = 0;
      for (let i = 0; at < stream.length; i++) {
        const size = cuts[i] ?? 7;
        reader.push(stream.subarray(at, at + size));
        at += size;
        if (stops && i % 3 === 0) reader.resume();
      }
      for (let i = 0; i < 40 + stream.length; i++) reader.resume();
      assert.deepEqual(
        sink.seen,
        list.map(([type, body]) => message(type, body).toString('hex')),
      );
      assert.equal(reader.waitingBytes, 0);
      assert.equal(reader.insideMessage, false);
    }),
  );
});

test('a message longer than its limit is passed on in parts, not gathered', () => {
  const parts: number[] = [];
  const sink: FrameSink = {
    onMessage: () => assert.fail('must not be gathered'),
    onPart(_type, _buffer, start, end) {
      parts.push(end - start);
      return true;
    },
  };
  const reader = new FrameReader(sink, LIMITS);
  const big = message('Q', new Uint8Array(3000));
  reader.push(big.subarray(0, 50)); // too little to see the names in it
  assert.deepEqual(parts, []);
  reader.push(big.subarray(50, 2000));
  assert.equal(reader.insideMessage, true);
  reader.push(big.subarray(2000));
  assert.deepEqual(parts, [2000, 1005]);
});

test('a stopped reader reports nothing and counts what waits', () => {
  const sink = new Collector(true);
  const reader = new FrameReader(sink, LIMITS);
  const one = message('Z', new Uint8Array(1));
  reader.push(Buffer.concat([one, one, one]));
  reader.push(one);
  assert.equal(sink.seen.length, 1);
  assert.equal(reader.waitingBytes, 3 * one.length);
  reader.resume();
  assert.equal(sink.seen.length, 2);
});

for (const [name, bytes] of [
  ['a length below four', Buffer.from([0x51, 0, 0, 0, 3])],
  ['a negative length', Buffer.from([0x51, 0x80, 0, 0, 0])],
  ['a length beyond what PostgreSQL allocates', Buffer.from([0x51, 0x7f, 0, 0, 0])],
  ['a type that the direction does not have', Buffer.from([0x01, 0, 0, 0, 4])],
] as const) {
  test(`${name} is a protocol violation`, () => {
    const reader = new FrameReader(new Collector(false), LIMITS);
    assert.throws(
      () => reader.push(bytes),
      (error) => error instanceof ClientError && error.sqlState === '08P01',
    );
  });
}
