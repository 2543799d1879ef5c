import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatEvent, painter, parseEvent, Repeats, wantsColor } from './events.ts';
import { formatBytes, formatMs, formatTable } from './table.ts';

const line = JSON.stringify({
  level: 30,
  time: '2026-01-02T03:04:05.678Z',
  component: 'node1',
  pid: 1,
  event: 'lease.acquired',
  term: '7',
  node: 'node1',
  detail: 'two words',
  msg: 'lease acquired',
});

test('a log record becomes time, component, message and what else it says', () => {
  const event = parseEvent(line);
  assert.ok(event !== null);
  assert.equal(
    formatEvent(event, { color: false, zoneMinutes: 60 }),
    '04:04:05.678 node1    lease acquired  term=7 detail="two words"',
  );
});

test('a field that the message repeats is not shown again', () => {
  const event = parseEvent(JSON.stringify({ level: 30, component: 'n', reason: 'disk full', msg: 'stops: disk full' }));
  assert.ok(event !== null);
  assert.match(formatEvent(event, { color: false }), /stops: disk full$/);
});

test('an error in a record is shown by its message and code, without the stack', () => {
  const event = parseEvent(
    JSON.stringify({ level: 50, component: 'proxy1', msg: 'x', err: { message: 'no', code: 'E1', stack: 'long' } }),
  );
  assert.ok(event !== null);
  assert.match(formatEvent(event, { color: false }), /x {2}\(no, E1\)$/);
});

test('what is no record stays out', () => {
  assert.equal(parseEvent('panic: no'), null);
  assert.equal(parseEvent('{"half'), null);
  assert.equal(parseEvent('{"level":"warn","msg":"etcd"}'), null);
});

test('colours only where a terminal reads, and not against NO_COLOR', () => {
  assert.equal(wantsColor({ isTTY: true }, {}), true);
  assert.equal(wantsColor({ isTTY: true }, { NO_COLOR: '1' }), false);
  assert.equal(wantsColor({}, {}), false);
  assert.equal(painter(false)('red', 'x'), 'x');
});

test('a flood of one kind is cut and counted; other kinds pass', () => {
  const repeats = new Repeats(2, 1000);
  assert.deepEqual(
    [0, 1, 2, 3].map((ms) => repeats.admit('a', ms).show),
    [true, true, false, false],
  );
  assert.equal(repeats.admit('b', 4).show, true);
  assert.deepEqual(repeats.admit('a', 1500), { show: true, hidden: 2 });
});

test('a table aligns its columns, numbers to the right', () => {
  const text = formatTable(
    ['node', 'lag'],
    [
      ['node1', '0 B'],
      ['n2', '1.5 MB'],
      ['n3', null],
    ],
  );
  assert.deepEqual(text.split('\n'), [
    'node      lag',
    '─────  ──────',
    'node1     0 B',
    'n2     1.5 MB',
    'n3          -',
  ]);
});

test('bytes and milliseconds for people', () => {
  assert.deepEqual([0, 1023, 1536, 5 * 1024 ** 3].map(formatBytes), ['0 B', '1023 B', '1.5 kB', '5.0 GB']);
  assert.deepEqual([0.25, 850.4, 12_500].map(formatMs), ['0.3 ms', '850 ms', '12.5 s']);
});
