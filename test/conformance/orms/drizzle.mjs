import { eq, relations, sql } from 'drizzle-orm';
import { drizzle } from 'drizzle-orm/node-postgres';
import { integer, jsonb, pgTable, serial, text, timestamp } from 'drizzle-orm/pg-core';
import { migrate } from 'drizzle-orm/node-postgres/migrator';
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { run, same } from './harness.mjs';

const authors = pgTable('drizzle_authors', {
  id: serial('id').primaryKey(),
  name: text('name').notNull().unique(),
  extra: jsonb('extra'),
  createdAt: timestamp('created_at', { withTimezone: true }).defaultNow().notNull(),
});
const books = pgTable('drizzle_books', {
  id: serial('id').primaryKey(),
  authorId: integer('author_id').references(() => authors.id),
  title: text('title').notNull(),
});
const authorRelations = relations(authors, ({ many }) => ({ books: many(books) }));
const bookRelations = relations(books, ({ one }) => ({
  author: one(authors, { fields: [books.authorId], references: [authors.id] }),
}));

const pool = new pg.Pool({ ssl: false, max: 1 });
const db = drizzle(pool, { schema: { authors, books, authorRelations, bookRelations } });

await run({
  migrate: async () => {
    await pool.query('DROP TABLE IF EXISTS drizzle_books, drizzle_authors; DROP SCHEMA IF EXISTS drizzle CASCADE');
    const folder = mkdtempSync(join(tmpdir(), 'leasehold-drizzle-'));
    mkdirSync(join(folder, 'meta'));
    writeFileSync(
      join(folder, '0000_first.sql'),
      'CREATE TABLE drizzle_authors (id serial PRIMARY KEY, name text NOT NULL UNIQUE, extra jsonb, created_at timestamptz DEFAULT now() NOT NULL);\n--> statement-breakpoint\nCREATE TABLE drizzle_books (id serial PRIMARY KEY, author_id int REFERENCES drizzle_authors, title text NOT NULL);',
    );
    const entries = [{ idx: 0, version: '7', when: 1_700_000_000_000, tag: '0000_first', breakpoints: true }];
    writeFileSync(join(folder, 'meta/_journal.json'), JSON.stringify({ version: '7', dialect: 'postgresql', entries }));
    await migrate(db, { migrationsFolder: folder });
    await migrate(db, { migrationsFolder: folder });
  },
  'read-your-writes': async () => {
    for (let i = 0; i < 50; i++) {
      const [author] = await db
        .insert(authors)
        .values({ name: `author ${i}`, extra: { i } })
        .returning();
      await db.insert(books).values([1, 2].map((n) => ({ authorId: author.id, title: `book ${i}.${n}` })));
      const found = await db.query.authors.findFirst({ where: eq(authors.id, author.id), with: { books: true } });
      same([found.name, found.extra, found.books.length], [`author ${i}`, { i }, 2]);
      await db
        .update(authors)
        .set({ name: `renamed ${i}` })
        .where(eq(authors.id, author.id));
      same(
        (await db.select({ name: authors.name }).from(authors).where(eq(authors.id, author.id)))[0]?.name,
        `renamed ${i}`,
      );
    }
  },
  transactions: async () => {
    const failed = await db
      .transaction(async (tx) => {
        await tx.insert(authors).values({ name: 'rolled back' });
        throw new Error('back');
      })
      .catch((error) => error.message);
    same(failed, 'back');
    await db.transaction(
      async (tx) => {
        await tx.insert(authors).values({ name: 'outer' });
        await tx
          .transaction(async (inner) => {
            await inner.insert(authors).values({ name: 'inner' });
            inner.rollback();
          })
          .catch(() => {});
      },
      { isolationLevel: 'serializable' },
    );
    const names = await db
      .select({ name: authors.name })
      .from(authors)
      .where(sql`name in ('rolled back', 'outer', 'inner')`);
    same(names, [{ name: 'outer' }]);
    const count = await db.transaction((tx) => tx.$count(authors), { accessMode: 'read only' });
    same(count, 51);
  },
  upsert: async () => {
    for (let i = 0; i < 20; i++) {
      await db
        .insert(authors)
        .values({ name: 'same', extra: { i } })
        .onConflictDoUpdate({ target: authors.name, set: { extra: { i } } });
      same((await db.select().from(authors).where(eq(authors.name, 'same')))[0].extra, { i });
    }
  },
  prepared: async () => {
    const get = db
      .select()
      .from(books)
      .where(eq(books.id, sql.placeholder('id')))
      .prepare('drizzle_get');
    for (let i = 1; i <= 50; i++) same((await get.execute({ id: i }))[0].id, i);
  },
});
