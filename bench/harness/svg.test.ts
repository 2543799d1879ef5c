import assert from 'node:assert/strict';
import { test } from 'node:test';
import { barChart } from './svg.ts';

test('the longest bar fits, the others are in proportion, and names are escaped', () => {
  const bar = (name: string, value: number) => ({ name, value, least: value, most: value });
  const svg = barChart({
    title: 'a < b',
    unit: 'a second',
    groups: [{ name: '64', bars: [bar('one', 1000), bar('two', 500)] }],
  });
  const widths = [...svg.matchAll(/<rect x="250" y="\d+" width="([\d.]+)"/g)].map((match) => Number(match[1]));
  assert.equal(widths.length, 2);
  assert.ok(Math.abs((widths[0] ?? 0) - 2 * (widths[1] ?? 0)) < 0.2);
  assert.ok((widths[0] ?? 0) < 880 - 250);
  assert.match(svg, /a &lt; b \(a second\)/);
  assert.match(svg, /1,000/);
});
