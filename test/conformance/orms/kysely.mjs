import { Kysely, PostgresDialect, sql } from 'kysely';
import { Migrator } from 'kysely/migration';
import pg from 'pg';
import Cursor from 'pg-cursor';
import { run, same } from './harness.mjs';

const db = new Kysely({ dialect: new PostgresDialect({ pool: new pg.Pool({ ssl: false, max: 1 }), cursor: Cursor }) });
const migrations = {
  first: {
    up: (on) =>
      on.schema
        .createTable('kysely_authors')
        .addColumn('id', 'serial', (c) => c.primaryKey())
        .addColumn('name', 'text', (c) => c.notNull().unique())
        .addColumn('extra', 'jsonb')
        .execute(),
    down: (on) => on.schema.dropTable('kysely_authors').execute(),
  },
  second: {
    up: (on) => on.schema.alterTable('kysely_authors').addColumn('born', 'date').execute(),
    down: (on) => on.schema.alterTable('kysely_authors').dropColumn('born').execute(),
  },
};

await run({
  migrate: async () => {
    // It takes an advisory lock of the transaction, and reads the catalog.
    await sql`DROP TABLE IF EXISTS kysely_authors, kysely_migration, kysely_migration_lock`.execute(db);
    const migrator = new Migrator({ db, provider: { getMigrations: async () => migrations } });
    for (const step of ['migrateToLatest', 'migrateDown', 'migrateToLatest']) {
      const { error } = await migrator[step]();
      if (error !== undefined) throw error;
    }
    same((await db.introspection.getTables()).find((t) => t.name === 'kysely_authors')?.columns.length, 4);
  },
  'read-your-writes': async () => {
    for (let i = 0; i < 100; i++) {
      const { id } = await db
        .insertInto('kysely_authors')
        .values({ name: `author ${i}`, extra: { i } })
        .returning('id')
        .executeTakeFirstOrThrow();
      same((await db.selectFrom('kysely_authors').selectAll().where('id', '=', id).executeTakeFirst())?.extra, { i });
      await db
        .updateTable('kysely_authors')
        .set({ name: `renamed ${i}` })
        .where('id', '=', id)
        .execute();
      same(
        (await db.selectFrom('kysely_authors').select('name').where('id', '=', id).executeTakeFirst())?.name,
        `renamed ${i}`,
      );
    }
  },
  transactions: async () => {
    await db
      .transaction()
      .execute(async (tx) => {
        await tx.insertInto('kysely_authors').values({ name: 'rolled back' }).execute();
        throw new Error('back');
      })
      .catch(() => {});
    const tx = await db.startTransaction().setIsolationLevel('serializable').execute();
    await tx.insertInto('kysely_authors').values({ name: 'outer' }).execute();
    const saved = await tx.savepoint('s').execute();
    await saved.insertInto('kysely_authors').values({ name: 'inner' }).execute();
    await saved.rollbackToSavepoint('s').execute();
    await tx.commit().execute();
    const names = await db
      .selectFrom('kysely_authors')
      .select('name')
      .where('name', 'in', ['rolled back', 'outer', 'inner'])
      .execute();
    same(names, [{ name: 'outer' }]);
  },
  upsert: async () => {
    for (let i = 0; i < 20; i++) {
      await db
        .insertInto('kysely_authors')
        .values({ name: 'same', extra: { i } })
        .onConflict((c) => c.column('name').doUpdateSet({ extra: { i } }))
        .execute();
      same(
        (await db.selectFrom('kysely_authors').select('extra').where('name', '=', 'same').executeTakeFirst())?.extra,
        { i },
      );
    }
  },
  stream: async () => {
    let wanted = 0;
    for await (const row of db
      .selectFrom(sql`generate_series(1, 1000)`.as('i'))
      .select(sql.ref('i').as('i'))
      .stream(50))
      same(row.i, ++wanted);
    same(wanted, 1000);
    // One that is left in the middle closes its portal, and the session goes on.
    for await (const row of db.selectFrom('kysely_authors').select('id').orderBy('id').stream(7))
      if (row.id > 20) break;
    same((await sql`SELECT 5 AS n`.execute(db)).rows, [{ n: 5 }]);
  },
});
