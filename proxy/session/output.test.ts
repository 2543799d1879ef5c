import assert from 'node:assert/strict';
import type { Socket } from 'node:net';
import { test } from 'node:test';
import { ClientOutput } from './output.ts';

function socketOf(written: string[]): Socket {
  const socket = {
    writable: true,
    write: (bytes: Buffer) => written.push(bytes.toString()) > 0,
    cork: () => undefined,
    uncork: () => undefined,
  };
  return socket as unknown as Socket;
}

test('what was collected goes in one write, in the order given', () => {
  const written: string[] = [];
  const out = new ClientOutput(socketOf(written));
  const chunk = Buffer.from('abcdefgh');
  out.relay(chunk, 0, 2);
  out.relay(chunk, 2, 4);
  out.send(Buffer.from('own'));
  out.relay(chunk, 5, 8);
  assert.equal(out.pendingBytes, 10);
  out.flush();
  assert.deepEqual(written, ['abcdownfgh']);
  assert.equal(out.pendingBytes, 0);
});

test('what overtakes is written at once, and not forgotten with what was collected', () => {
  const written: string[] = [];
  const out = new ClientOutput(socketOf(written));
  out.send(Buffer.from('parse'));
  out.overtake(Buffer.from('.notify.'), 1, 7);
  out.discard();
  out.send(Buffer.from('again'));
  out.flush();
  assert.deepEqual(written, ['notify', 'again']);
});

test('what was discarded is never written', () => {
  const written: string[] = [];
  const out = new ClientOutput(socketOf(written));
  out.send(Buffer.from('first try'));
  out.send(Buffer.from('more'));
  out.discard();
  out.send(Buffer.from('second try'));
  out.flush();
  assert.deepEqual(written, ['second try']);
});
