import assert from 'node:assert/strict';
import { test } from 'node:test';
import { logDestination } from './log-destination.ts';

function failing(code: string): never {
  throw Object.assign(new Error(code), { code });
}

test('lines are written as they come, also in parts', () => {
  let seen = '';
  const log = logDestination(1, (_fd, data) => {
    const part = data.subarray(0, 3);
    seen += part.toString();
    return part.length;
  });
  log.write('first line\n');
  log.write('second\n');
  assert.equal(seen, 'first line\nsecond\n');
});

test('a reader that is gone ends neither the process nor its work', () => {
  let calls = 0;
  const log = logDestination(1, () => {
    calls += 1;
    return failing('EPIPE');
  });
  log.write('a\n');
  log.write('b\n');
  assert.equal(calls, 1);
});

test('a reader that is slow is waited for within a bound, and what was lost is counted', () => {
  let blocked = true;
  let seen = '';
  const log = logDestination(1, (_fd, data) => {
    if (blocked) failing('EAGAIN');
    seen += data.toString();
    return data.length;
  });
  const line = `${'x'.repeat(600_000)}\n`;
  for (let i = 0; i < 5; i++) log.write(line);
  blocked = false;
  log.write('next\n'); // the bound is still passed: dropped as well, until a retry has emptied it
  return new Promise<void>((done) => {
    setTimeout(() => {
      log.write('last\n');
      assert.equal(seen.startsWith(line + line), true);
      assert.match(seen.slice(2 * line.length), /^\{.*"lines":4.*\}\nlast\n$/);
      done();
    }, 150);
  });
});
