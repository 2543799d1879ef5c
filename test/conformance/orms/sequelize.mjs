import { DataTypes, Op, QueryTypes, Sequelize, Transaction } from 'sequelize';
import { run, same } from './harness.mjs';

const { PGUSER, PGPASSWORD, PGHOST, PGPORT, PGDATABASE } = process.env;
const sequelize = new Sequelize(PGDATABASE, PGUSER, PGPASSWORD, {
  host: PGHOST,
  port: Number(PGPORT),
  dialect: 'postgres',
  logging: false,
  pool: { max: 1 },
});
const Author = sequelize.define('sequelize_author', {
  name: { type: DataTypes.TEXT, unique: true },
  extra: DataTypes.JSONB,
  tags: DataTypes.ARRAY(DataTypes.TEXT),
  mood: DataTypes.ENUM('well', 'ill'),
});
const Book = sequelize.define('sequelize_book', { title: DataTypes.TEXT });
Author.hasMany(Book);
Book.belongsTo(Author);

await run({
  migrate: async () => {
    await sequelize.sync({ force: true });
    await sequelize.sync({ alter: true });
    same(Object.keys(await sequelize.getQueryInterface().describeTable('sequelize_authors')).length, 7);
  },
  'read-your-writes': async () => {
    for (let i = 0; i < 50; i++) {
      const created = await Author.create(
        {
          name: `author ${i}`,
          extra: { i },
          tags: ['a', 'b'],
          mood: 'well',
          sequelize_books: [{ title: 'a' }, { title: 'b' }],
        },
        { include: Book },
      );
      const found = await Author.findByPk(created.id, { include: Book });
      same([found?.name, found?.extra, found?.sequelize_books.length], [`author ${i}`, { i }, 2]);
      await found.update({ name: `renamed ${i}` });
      same((await found.reload()).name, `renamed ${i}`);
    }
    same(await Author.count({ where: { name: { [Op.like]: 'renamed%' } } }), 50);
  },
  transactions: async () => {
    await sequelize
      .transaction(async (transaction) => {
        await Author.create({ name: 'rolled back' }, { transaction });
        throw new Error('back');
      })
      .catch(() => {});
    same(await Author.count({ where: { name: 'rolled back' } }), 0);
    await sequelize.transaction({ isolationLevel: Transaction.ISOLATION_LEVELS.SERIALIZABLE }, async (transaction) => {
      await Author.create({ name: 'outer' }, { transaction });
      const inner = await sequelize.transaction({ transaction });
      await Author.create({ name: 'inner' }, { transaction: inner });
      await inner.rollback();
      same((await Author.findOne({ where: { name: 'outer' }, lock: true, transaction })).name, 'outer');
    });
    same(await Author.count({ where: { name: ['outer', 'inner'] } }), 1);
  },
  upsert: async () => {
    for (let i = 0; i < 20; i++) {
      await Author.upsert({ name: 'same', extra: { i } }, { conflictFields: ['name'] });
      same((await Author.findOne({ where: { name: 'same' } }))?.extra, { i });
    }
    const [, created] = await Author.findOrCreate({ where: { name: 'new' } });
    same(created, true);
  },
  raw: async () => {
    const rows = await sequelize.query('SELECT $1::int + $2::int AS sum', { bind: [2, 3], type: QueryTypes.SELECT });
    same(rows, [{ sum: 5 }]);
  },
});
