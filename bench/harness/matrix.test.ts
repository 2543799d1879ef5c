import assert from 'node:assert/strict';
import { test } from 'node:test';
import { allCells, chooseCells } from './matrix.ts';

const cells = allCells();

test('every cell has a name of its own', () => {
  assert.equal(new Set(cells.map(({ id }) => id)).size, cells.length);
});

test('the matrix has every protocol with every number of clients, plain and over TLS', () => {
  const ids = new Set(cells.map(({ id }) => id));
  for (const protocol of ['simple', 'extended', 'prepared']) {
    for (const clients of [1, 16, 64, 256, 1000]) {
      for (const tls of ['', '-tls']) assert.ok(ids.has(`read-${protocol}-${clients}${tls}`));
    }
  }
});

test('nobody connects directly where PostgreSQL would refuse so many', () => {
  assert.ok(cells.every(({ clients, sides }) => clients <= 128 || !sides.includes('direct')));
});

test('--quick leaves cells out, and --only names any of the whole matrix', () => {
  const quick = chooseCells(cells, true, null);
  assert.ok(quick.length > 5 && quick.length < cells.length);
  assert.ok(quick.every(({ sides }) => sides.length > 1 && !sides.includes('odyssey')));
  assert.deepEqual(
    chooseCells(cells, true, '=read-extended-16, copy').map(({ id }) => id),
    ['read-extended-16', 'copy-1'],
  );
  assert.equal(chooseCells(cells, false, 'prepared-64').length, 2);
  assert.throws(() => chooseCells(cells, false, 'nothing-such'), /nothing-such/);
});
