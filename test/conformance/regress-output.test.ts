import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseRegress } from './regress-output.ts';

const DIFFS = `diff -U3 /s/expected/date.out /o/results/date.out
--- /s/expected/date.out
+++ /o/results/date.out
@@ -1,3 +1,3 @@
 SELECT 1;
-a
+b
diff -U3 /s/expected/guc.out /o/results/guc.out
--- x
`;

test('every test of pg_regress is found, with what a failed one printed otherwise', () => {
  const output = [
    'test test_setup                   ... ok          210 ms',
    'parallel group (2 tests):  date boolean',
    '     date                         ... FAILED      105 ms',
    '     random                       ... failed (ignored)      10 ms',
    'test guc                          ... FAILED (test process exited with exit code 2)      9 ms',
    ' 2 of 4 tests failed.',
  ].join('\n');
  const results = parseRegress(output, DIFFS);
  assert.deepEqual(
    results.map(({ test: name, outcome }) => `${name} ${outcome}`),
    ['test_setup passed', 'date failed', 'random skipped', 'guc failed'],
  );
  assert.match(results[1]?.detail ?? '', /\n-a\n\+b$/);
  assert.match(results[3]?.detail ?? '', /exit code 2/);
});

test('the TAP of later versions is read too', () => {
  const output = 'ok 1         - test_setup                 200 ms\nnot ok 2     + date                       105 ms\n';
  assert.deepEqual(
    parseRegress(output, '', 'x/').map(({ test: name, outcome }) => `${name} ${outcome}`),
    ['x/test_setup passed', 'x/date failed'],
  );
});
