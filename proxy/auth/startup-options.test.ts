import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseStartupOptions } from './startup-options.ts';

const cases: readonly (readonly [name: string, options: string, settings: readonly (readonly [string, string])[]])[] = [
  ['nothing', '  ', []],
  ['-c with a space', '-c geqo=off', [['geqo', 'off']]],
  ['-c without a space', '-cgeqo=off', [['geqo', 'off']]],
  ['a long option with dashes', '--statement-timeout=5min', [['statement_timeout', '5min']]],
  ['an escaped space', '-c search_path=a,\\ b', [['search_path', 'a, b']]],
  ['an escaped backslash', '-c x.y=a\\\\b', [['x.y', 'a\\b']]],
  ['an equals sign in the value', '-c x.y=a=b', [['x.y', 'a=b']]],
  [
    'several, upper case',
    ' -c DateStyle=ISO\t--TimeZone=UTC ',
    [
      ['datestyle', 'ISO'],
      ['timezone', 'UTC'],
    ],
  ],
];
for (const [name, options, settings] of cases) {
  test(`options: ${name}`, () => assert.deepEqual(parseStartupOptions(options), settings));
}

test('a switch of the server and a setting without a value are refused as PostgreSQL does', () => {
  for (const options of ['-B 100', '-c geqo', '--geqo', '-c', 'word']) {
    assert.throws(() => parseStartupOptions(options), { sqlState: '42601', severity: 'FATAL' });
  }
});
