import assert from 'node:assert/strict';
import { test } from 'node:test';
import { clientErrors, parsePgbenchLog, stallsOf } from './pgbench-log.ts';

const LOG = `0 1 9000 0 1700000000 000000
1 1 9000 0 1700000000 010000
0 2 failed 0 1700000000 050000
1 2 9000 0 1700000000 310000
0 3 9000 0 1700000000 500000
`;

test('transactions of a client are numbered in order, and one that failed has its number too', () => {
  const own = parsePgbenchLog(LOG).filter(({ client }) => client === 0);
  assert.deepEqual(
    own.map(({ number, failed }) => [number, failed]),
    [
      [1, false],
      [2, true],
      [3, false],
    ],
  );
  assert.equal(own[1]?.endedMs, 1_700_000_000_050);
});

test('a stall lasts from one acknowledged transaction to the next, of one client and of all', () => {
  assert.deepEqual(stallsOf(parsePgbenchLog(LOG), 2, 1_700_000_000_020), { ofOneClientMs: 500, ofAllMs: 300 });
});

test('a stall that was over before the moment does not count', () => {
  assert.deepEqual(
    stallsOf(parsePgbenchLog(`${LOG}1 3 1 0 1700000000 600000\n0 4 1 0 1700000000 600000\n`), 2, 1_700_000_000_550),
    {
      ofOneClientMs: 290,
      ofAllMs: 100,
    },
  );
});

test('a client that never came back has no stall that could be told', () => {
  assert.equal(stallsOf(parsePgbenchLog(LOG), 2, 1_700_000_000_400), null);
  assert.equal(stallsOf(parsePgbenchLog(LOG), 3, 1_700_000_000_020), null);
});

test('what threw clients out is told in the server’s words, and nothing that pgbench says otherwise', () => {
  const output =
    'pgbench (15.18)\npgbench: error: client 3 script 0 aborted in command 4 query 0: ERROR:  x\npgbench: error: connection to server at "127.0.0.1" failed\npgbench: error: client 4 aborted in command 8 (SQL) of script 0; perhaps the backend died while processing\nscaling factor: 10\n';
  assert.deepEqual(clientErrors(output), ['x', 'connection lost']);
});
