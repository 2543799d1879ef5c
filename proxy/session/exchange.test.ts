import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Entry, Exchange, type ExchangeHost } from './exchange.ts';

const EMPTY = Buffer.alloc(0);

function entry(kind: Entry['kind'], swallow = false): Entry {
  return { kind, bytes: EMPTY, swallow, prepared: null, name: '', tracked: null, undo: null };
}

/** Feeds answers by their type letters; collects the verdicts and what the host was told. */
function play(entries: readonly Entry[], answers: string): { verdicts: string; told: string[]; exchange: Exchange } {
  const told: string[] = [];
  const host: ExchangeHost = {
    onStatementDone: (of, index) => told.push(`done ${of.kind} ${index}`),
    onSkipped: (of) => told.push(`skipped ${of.kind}`),
    onCopyIn: () => told.push('copy-in'),
    onLocal: () => told.push('local'),
  };
  const exchange = new Exchange(host);
  for (const each of entries) exchange.push(each);
  exchange.emitLocals();
  let verdicts = '';
  for (const letter of answers) {
    verdicts += exchange.onAnswer(letter.charCodeAt(0), EMPTY, 0, 0)[0];
    exchange.emitLocals();
  }
  return { verdicts, told, exchange };
}

test('the answers of a simple query are the client’s, statement by statement', () => {
  const { verdicts, told, exchange } = play([entry('query')], 'TDDCTDCZ');
  assert.equal(verdicts, 'fffffffr');
  assert.deepEqual(told, ['done query 0', 'done query 1']);
  assert.ok(exchange.done);
});

test('answers to what the proxy sent for itself are kept from the client', () => {
  const { verdicts } = play([entry('query', true), entry('query')], 'CZTDCZ');
  assert.equal(verdicts, 'srfffr');
});

test('an injected Parse is swallowed, the client’s own messages are answered in order', () => {
  const unit = [entry('parse', true), entry('bind'), entry('describe'), entry('execute'), entry('sync')];
  assert.equal(play(unit, '12TDCZ').verdicts, 'sffffr');
});

test('what the proxy answers itself comes in its turn', () => {
  const { told } = play([entry('local'), entry('bind'), entry('local'), entry('sync')], '2Z');
  assert.deepEqual(told, ['local', 'local']);
});

test('after an error everything up to Sync is skipped', () => {
  const unit = [entry('parse'), entry('bind'), entry('local'), entry('execute'), entry('sync')];
  const { verdicts, told, exchange } = play(unit, '1EZ');
  assert.equal(verdicts, 'fer');
  assert.deepEqual(told, ['skipped bind', 'skipped local', 'skipped execute']);
  assert.ok(exchange.done);
});

test('after an error without a Sync the exchange waits for one', () => {
  const { exchange } = play([entry('parse'), entry('bind')], 'E');
  assert.ok(exchange.skipping);
  exchange.push(entry('sync'));
  assert.equal(exchange.skipping, false);
  assert.equal(exchange.onAnswer(0x5a, EMPTY, 0, 0), 'ready');
});

test('the Sync that was sent along with a COPY FROM gets no answer', () => {
  const { exchange, told } = play([entry('parse'), entry('bind'), entry('execute'), entry('sync')], '12G');
  assert.deepEqual(told, ['copy-in']);
  exchange.endCopy();
  exchange.push(entry('sync'));
  assert.equal(exchange.onAnswer(0x43, EMPTY, 0, 0), 'forward');
  assert.equal(exchange.onAnswer(0x5a, EMPTY, 0, 0), 'ready');
  assert.ok(exchange.done);
});

test('an answer that nothing asked for is a violation', () => {
  assert.equal(play([], 'Z').verdicts, 'v');
  assert.equal(play([entry('bind'), entry('sync')], '1').verdicts, 'v');
  assert.equal(play([entry('bind'), entry('sync')], 'Z').verdicts, 'v');
});

test('what is answered is forgotten though one answer is always outstanding; too much ahead of the answers is full', () => {
  const { exchange } = play([entry('bind')], '');
  for (let i = 0; i < 10_000; i++) {
    exchange.push(entry('bind'));
    assert.equal(exchange.onAnswer(0x32, EMPTY, 0, 0), 'forward');
  }
  assert.ok(exchange.size < 1_000, String(exchange.size));
  assert.equal(exchange.pending().length, 1);
  let ahead = 0;
  for (; !exchange.full; ahead += 1) exchange.push(entry('local'));
  assert.ok(ahead < 10_000);
  assert.equal(exchange.onAnswer(0x32, EMPTY, 0, 0), 'forward');
  exchange.emitLocals();
  assert.equal(exchange.full, false);
  assert.ok(exchange.done);
});
