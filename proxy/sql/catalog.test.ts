import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type CatalogQuery, createVolatilityCatalog } from './catalog.ts';
import { FINGERPRINT_SQL } from './catalog-queries.ts';

const { signal } = new AbortController();
type Rows = readonly (readonly (string | null)[])[];

function fake(contents: { fingerprint: string; rows: Rows }): { query: CatalogQuery; loads: () => number } {
  let loads = 0;
  const query: CatalogQuery = async (sql) => {
    await Promise.resolve();
    if (sql === FINGERPRINT_SQL) return [[contents.fingerprint]];
    loads += 1;
    return contents.rows;
  };
  return { query, loads: () => loads };
}

const rows: Rows = [
  ['function', 'app', 'f', 's'],
  ['function', 'other', 'f', 'v'],
  ['function', 'pg_catalog', 'lower', 'i'],
  ['function', 'pg_catalog', 'random', 'v'],
  ['function', 'app', 'random_thing', 'v'],
  ['relation', 'app', 'logged', 'v'],
  ['operator', 'app', '@@@', 'v'],
];

test('an unqualified name is as volatile as its most volatile candidate', async () => {
  const catalog = createVolatilityCatalog(fake({ fingerprint: '1', rows }));
  assert.equal(catalog.volatilityOf(null, 'f'), 'unknown');
  await catalog.refresh(signal);
  assert.deepEqual(
    [catalog.volatilityOf('app', 'f'), catalog.volatilityOf(null, 'f'), catalog.volatilityOf('app', 'g')],
    ['stable', 'volatile', 'unknown'],
  );
  assert.equal(catalog.isVolatile('relation', null, 'logged'), true);
  assert.equal(catalog.isVolatile('relation', 'other', 'logged'), false);
  assert.equal(catalog.isVolatile('operator', null, '@@@'), true);
});

test('built-in functions that are volatile but cannot write count as stable, a user’s namesake does not', async () => {
  const catalog = createVolatilityCatalog(
    fake({ fingerprint: '1', rows: [...rows, ['function', 'app', 'random', 'v']] }),
  );
  await catalog.refresh(signal);
  assert.equal(catalog.volatilityOf('pg_catalog', 'random'), 'stable');
  assert.equal(catalog.volatilityOf(null, 'random'), 'volatile');
});

test('an unchanged catalog is not read again, a changed one is and raises the version', async () => {
  const contents = { fingerprint: '1', rows };
  const { query, loads } = fake(contents);
  const catalog = createVolatilityCatalog({ query });
  await catalog.refresh(signal);
  await catalog.refresh(signal);
  assert.deepEqual([loads(), catalog.version], [1, 1]);
  contents.fingerprint = '2';
  contents.rows = [['function', 'app', 'f', 'v']];
  await catalog.refresh(signal);
  assert.deepEqual([loads(), catalog.version, catalog.volatilityOf('app', 'f')], [2, 2, 'volatile']);
});

test('invalidated, nothing is known until it was read again', async () => {
  const catalog = createVolatilityCatalog(fake({ fingerprint: '1', rows }));
  await catalog.refresh(signal);
  catalog.invalidate();
  assert.equal(catalog.volatilityOf('app', 'f'), 'unknown');
  await catalog.refresh(signal);
  assert.equal(catalog.volatilityOf('app', 'f'), 'stable');
});

test('what was being read when it was invalidated is not believed', async () => {
  const contents = { fingerprint: '1', rows };
  const { query, loads } = fake(contents);
  const catalog = createVolatilityCatalog({
    query: async (sql, abort) => {
      const answer = await query(sql, abort);
      if (sql !== FINGERPRINT_SQL && loads() === 1) {
        catalog.invalidate();
        contents.rows = [['function', 'app', 'f', 'v']];
      }
      return answer;
    },
  });
  await catalog.refresh(signal);
  assert.deepEqual([loads(), catalog.volatilityOf('app', 'f')], [2, 'volatile']);
});

test('refreshes at one time share one reading, and a failed one leaves what was known', async () => {
  let fail = false;
  const { query, loads } = fake({ fingerprint: '1', rows });
  const catalog = createVolatilityCatalog({
    query: (sql, abort) => (fail ? Promise.reject(new Error('no leader')) : query(sql, abort)),
  });
  await Promise.all([catalog.refresh(signal), catalog.refresh(signal)]);
  assert.equal(loads(), 1);
  fail = true;
  await assert.rejects(catalog.refresh(signal), /no leader/);
  assert.equal(catalog.volatilityOf('app', 'f'), 'stable');
});
