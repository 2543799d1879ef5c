import createKnex from 'knex';
import { run, same } from './harness.mjs';

const knex = createKnex({
  client: 'pg',
  connection: {
    host: process.env['PGHOST'],
    port: Number(process.env['PGPORT']),
    user: process.env['PGUSER'],
    password: process.env['PGPASSWORD'],
    database: process.env['PGDATABASE'],
    ssl: false,
  },
  pool: { min: 0, max: 1 },
});
const first = {
  up: (on) =>
    on.schema.createTable('knex_authors', (table) => {
      table.increments('id');
      table.text('name').notNullable().unique();
      table.jsonb('extra');
      table.timestamps(true, true);
    }),
  down: (on) => on.schema.dropTable('knex_authors'),
};
const migrationSource = {
  getMigrations: async () => ['first'],
  getMigrationName: (name) => name,
  getMigration: async () => first,
};

await run({
  migrate: async () => {
    await knex.raw('DROP TABLE IF EXISTS knex_authors, knex_migrations, knex_migrations_lock');
    await knex.migrate.latest({ migrationSource });
    await knex.migrate.rollback({ migrationSource });
    await knex.migrate.latest({ migrationSource });
    same(await knex.schema.hasTable('knex_authors'), true);
    same(await knex.schema.hasColumn('knex_authors', 'extra'), true);
  },
  'read-your-writes': async () => {
    for (let i = 0; i < 100; i++) {
      const [{ id }] = await knex('knex_authors')
        .insert({ name: `author ${i}`, extra: { i } })
        .returning('id');
      same((await knex('knex_authors').where({ id }).first())?.extra, { i });
      await knex('knex_authors')
        .where({ id })
        .update({ name: `renamed ${i}` });
      same((await knex('knex_authors').where({ id }).first('name'))?.name, `renamed ${i}`);
    }
  },
  transactions: async () => {
    await knex
      .transaction(async (tx) => {
        await tx('knex_authors').insert({ name: 'rolled back' });
        throw new Error('back');
      })
      .catch(() => {});
    await knex.transaction(
      async (tx) => {
        await tx('knex_authors').insert({ name: 'outer' });
        await tx
          .transaction(async (inner) => {
            await inner('knex_authors').insert({ name: 'inner' });
            throw new Error('back');
          })
          .catch(() => {});
        same((await tx('knex_authors').where({ name: 'outer' }).forUpdate().skipLocked()).length, 1);
      },
      { isolationLevel: 'serializable' },
    );
    same(await knex('knex_authors').whereIn('name', ['rolled back', 'outer', 'inner']).pluck('name'), ['outer']);
    const count = await knex.transaction((tx) => tx('knex_authors').count({ n: '*' }).first(), { readOnly: true });
    same(Number(count.n), 101);
  },
  upsert: async () => {
    for (let i = 0; i < 20; i++) {
      await knex('knex_authors').insert({ name: 'same', extra: { i } }).onConflict('name').merge();
      same((await knex('knex_authors').where({ name: 'same' }).first()).extra, { i });
    }
  },
  stream: async () => {
    let count = 0;
    for await (const row of knex.select('i').from(knex.raw('generate_series(1, 1000) i')).stream({ batchSize: 50 }))
      same(row.i, ++count);
    same(count, 1000);
  },
});
