import 'reflect-metadata';
import { DataSource, EntitySchema } from 'typeorm';
import { run, same } from './harness.mjs';

const Author = new EntitySchema({
  name: 'Author',
  tableName: 'typeorm_authors',
  columns: {
    id: { type: 'int', primary: true, generated: true },
    name: { type: 'text', unique: true },
    extra: { type: 'jsonb', nullable: true },
    version: { type: 'int', version: true },
    createdAt: { type: 'timestamptz', createDate: true },
  },
  relations: { books: { type: 'one-to-many', target: 'Book', inverseSide: 'author', cascade: true } },
});
const Book = new EntitySchema({
  name: 'Book',
  tableName: 'typeorm_books',
  columns: { id: { type: 'uuid', primary: true, generated: 'uuid' }, title: { type: 'text' } },
  relations: { author: { type: 'many-to-one', target: 'Author', inverseSide: 'books', joinColumn: true } },
});

const source = new DataSource({
  type: 'postgres',
  host: process.env['PGHOST'],
  port: Number(process.env['PGPORT']),
  username: process.env['PGUSER'],
  password: process.env['PGPASSWORD'],
  database: process.env['PGDATABASE'],
  entities: [Author, Book],
  uuidExtension: 'pgcrypto',
  installExtensions: false,
  extra: { max: 1 },
});
await source.initialize();
const authors = source.getRepository('Author');

await run({
  migrate: async () => {
    await source.query('DROP TABLE IF EXISTS typeorm_books, typeorm_authors');
    await source.synchronize();
    // Nothing is left to do: it compares its entities with the catalog.
    same((await source.driver.createSchemaBuilder().log()).upQueries.length, 0, 'queries left');
  },
  'read-your-writes': async () => {
    for (let i = 0; i < 50; i++) {
      const saved = await authors.save({ name: `author ${i}`, extra: { i }, books: [{ title: 'a' }, { title: 'b' }] });
      const found = await authors.findOne({ where: { id: saved.id }, relations: { books: true } });
      same([found?.name, found?.books.length, found?.version], [`author ${i}`, 2, 1]);
      found.name = `renamed ${i}`;
      await authors.save(found);
      same((await authors.findOneBy({ id: saved.id }))?.name, `renamed ${i}`);
    }
  },
  transactions: async () => {
    await source
      .transaction(async (manager) => {
        await manager.getRepository('Author').save({ name: 'rolled back' });
        throw new Error('back');
      })
      .catch(() => {});
    same(await authors.countBy({ name: 'rolled back' }), 0);
    await source.transaction('SERIALIZABLE', async (manager) => {
      await manager.getRepository('Author').save({ name: 'outer' });
      await manager
        .transaction(async (inner) => {
          await inner.getRepository('Author').save({ name: 'inner' });
          throw new Error('back');
        })
        .catch(() => {});
      const locked = await manager
        .getRepository('Author')
        .findOne({ where: { name: 'outer' }, lock: { mode: 'pessimistic_write' } });
      same(locked.name, 'outer');
    });
    same(await authors.countBy({ name: 'inner' }), 0);
  },
  upsert: async () => {
    for (let i = 0; i < 20; i++) await authors.upsert({ name: 'same', extra: { i } }, ['name']);
    const [row] = await source.transaction((manager) =>
      manager.query("SELECT extra FROM typeorm_authors WHERE name = 'same'"),
    );
    same(row.extra, { i: 19 });
  },
  stream: async () => {
    const rows = await source.createQueryBuilder().select('b.title', 'title').from('Book', 'b').stream();
    let count = 0;
    for await (const row of rows) count += row.title === undefined ? 0 : 1;
    same(count, 100);
  },
});
