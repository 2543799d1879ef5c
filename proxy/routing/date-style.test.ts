import assert from 'node:assert/strict';
import { test } from 'node:test';
import { mergeDateStyle } from './date-style.ts';
import { settingsDiff, startupImage } from './settings-image.ts';

for (const [what, before, value, expected] of [
  ['an order keeps the style', 'ISO, MDY', 'ymd', 'ISO, YMD'],
  ['a style keeps the order', 'Postgres, DMY', 'iso', 'ISO, DMY'],
  ['both replace both', 'ISO, MDY', 'SQL, European', 'SQL, DMY'],
  ['German brings its order', 'ISO, MDY', 'German', 'German, DMY'],
  ['German with an order of its own', 'ISO, MDY', 'german, us', 'German, MDY'],
  ['nothing is known of the server’s default', undefined, 'ymd', 'ymd'],
  ['two parts, one after the other', 'ymd', 'PostgreSQL', 'Postgres, YMD'],
  ['DEFAULT is the server’s', 'ISO, YMD', 'DEFAULT', 'DEFAULT'],
] as const) {
  test(`DateStyle: ${what}`, () => assert.equal(mergeDateStyle(before, value), expected));
}

test('a backend whose last session had another DateStyle is set back before it gets a part of one', () => {
  const image = (value: string) => startupImage(new Map([['datestyle', value]]));
  const statements = settingsDiff(image('SQL, DMY'), image('ymd')) ?? [];
  assert.deepEqual(statements.slice(0, -1), ['RESET "datestyle"']);
});
