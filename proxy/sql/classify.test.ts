import assert from 'node:assert/strict';
import { test } from 'node:test';
import { someCatalog, unreadCatalog } from '../../test/support/volatility.ts';
import { type ClassifierOptions, createClassifier, MAX_PARSE_BYTES, MAX_SCAN_BYTES } from './classify.ts';
import type { Classification, ClassifyOptions } from './types.ts';

const OPTIONS: ClassifyOptions = { standardConformingStrings: true, systemCatalogs: 'leader' };
const classifier = await createClassifier();

function classify(text: string, options: ClassifyOptions = OPTIONS): Classification {
  return classifier.classify(Buffer.from(text), someCatalog, options);
}

test('the statements of a text that is keyed as it is have their places in it', () => {
  const text = "SET a.b = 1;\n -- é\n PREPARE p AS SELECT 'é';SELECT 1";
  const bytes = Buffer.from(text);
  const spans = classify(text).statements.map(({ start, end }) => bytes.toString('utf8', start, end).trim());
  assert.deepEqual(spans[0], 'SET a.b = 1');
  assert.match(spans[1] ?? '', /PREPARE p AS SELECT 'é'$/);
  assert.deepEqual(spans[2], 'SELECT 1');
});

test('statements that differ only in literals, case, comments and white space share one entry', () => {
  const before = classifier.stats.entries;
  const first = classify("SELECT shared FROM t WHERE a = 1 AND b = 'x'");
  assert.equal(classify("select  shared\n FROM t /* c */ WHERE a = 23 AND b = E'\\''"), first);
  assert.equal(classifier.stats.entries, before + 1);
});

test('no literal of the text is in the key', () => {
  const { key } = classify("ALTER ROLE x PASSWORD 'secret' VALID UNTIL $t$never$t$");
  assert.doesNotMatch(key, /secret|never/);
});

test('settings with different values do not share an answer', () => {
  const value = (text: string) => {
    const statement = classify(text).statements[0];
    return statement?.kind === 'set' ? statement.value : undefined;
  };
  assert.deepEqual([value('SET a.b = 1'), value('SET a.b = 2')], ['1', '2']);
  assert.deepEqual(
    [value("SELECT set_config('a.b','1',false)"), value("SELECT set_config('a.b','2',false)")],
    ['1', '2'],
  );
});

test('system_catalogs = follower lets followers describe themselves', () => {
  const options = { ...OPTIONS, systemCatalogs: 'follower' } as const;
  assert.equal(classify('SELECT * FROM pg_stat_activity', options).target, 'follower');
  assert.equal(classify('SELECT pg_is_in_recovery()', options).target, 'follower');
  assert.equal(classify('SELECT pg_is_in_recovery()').target, 'leader');
});

test('a read that a follower refused is a write from then on, whatever its literals', async () => {
  const own = await createClassifier();
  const read = own.classify(Buffer.from('SELECT * FROM sneaky WHERE a = 1'), someCatalog, OPTIONS);
  assert.equal(read.target, 'follower');
  own.learnWrite(read.key);
  const write = own.classify(Buffer.from('SELECT * FROM sneaky WHERE a = 2'), someCatalog, OPTIONS);
  assert.deepEqual([write.target, write.reason, write.retryable], ['leader', 'learned-write', false]);
  assert.equal(write.statements[0]?.kind, 'write');
});

test('what is learned is bounded', async () => {
  const own = await createClassifier();
  const { key } = own.classify(Buffer.from('SELECT first'), someCatalog, OPTIONS);
  own.learnWrite(key);
  for (let i = 0; i < 2000; i += 1) own.learnWrite(`other ${i}`);
  assert.equal(own.classify(Buffer.from('SELECT first'), someCatalog, OPTIONS).target, 'follower');
});

test('another catalog, or a newer version of one, decides anew without parsing', async () => {
  const own = await createClassifier();
  const text = Buffer.from('SELECT reader(1)');
  assert.equal(own.classify(text, someCatalog, OPTIONS).target, 'follower');
  assert.equal(own.classify(text, unreadCatalog, OPTIONS).target, 'leader');
  const changed = { ...someCatalog, version: 2, volatilityOf: () => 'volatile' as const };
  assert.equal(own.classify(text, changed, OPTIONS).target, 'leader');
  assert.equal(own.classify(text, someCatalog, OPTIONS).target, 'follower');
  assert.equal(own.stats.misses, 1);
});

test('until a catalog is read, built-in functions are known and others are not', () => {
  const at = (text: string) => classifier.classify(Buffer.from(text), unreadCatalog, OPTIONS).target;
  assert.equal(at('SELECT count(*), now(), random() FROM t'), 'follower');
  assert.equal(at('SELECT reader(1)'), 'leader');
});

test('without standard conforming strings a backslash is not left to a parser that reads it otherwise', () => {
  const options = { ...OPTIONS, standardConformingStrings: false };
  const text = "SELECT 'a\\'; DELETE FROM t; --'";
  assert.equal(classify(text, options).target, 'leader');
  assert.deepEqual(classify(text, options).pins, []);
  assert.deepEqual(classify("SET a.b = 'x\\''", options).pins, ['session-state']);
  assert.equal(classify("SELECT 'no backslash'", options).target, 'follower');
});

test('a bulk INSERT that is too large to be parsed is a write and pins nothing', () => {
  const text = `INSERT INTO t VALUES ${"(1, 'x'),".repeat(MAX_PARSE_BYTES / 8)}(1, 'y')`;
  const { target, pins: pinned, statements } = classify(text);
  assert.deepEqual([target, pinned, statements[0]?.kind], ['leader', [], 'write']);
});

test('a large text that may have changed the session pins it', () => {
  const filler = `SELECT '${'x'.repeat(MAX_PARSE_BYTES)}'`;
  assert.deepEqual(classify(`${filler}; SET a.b = 1`).pins, ['session-state']);
  assert.deepEqual(classify(`${filler}; SELECT pg_advisory_lock(1)`).pins, ['session-state']);
  assert.deepEqual(classify(`SELECT '${'x'.repeat(MAX_SCAN_BYTES)}'`).pins, ['session-state']);
});

const hostile: [string, string][] = [
  ['60,000 parentheses', `SELECT ${'('.repeat(60_000)}1`],
  ['a chain of 30,000 operators', `SELECT 1${'+1'.repeat(30_000)}`],
  ['4,000 unions', `SELECT 1${' UNION SELECT 1'.repeat(4000)}`],
  ['10,000 casts', `SELECT 1${'::int'.repeat(10_000)}`],
  ['7,000 IS NULLs', `SELECT 1${' IS NULL'.repeat(7000)}`],
  ['9,000 NOTs', `SELECT ${'not '.repeat(9000)}true`],
  ['a zero byte', 'SELECT \0 1'],
  ['a zero byte in a name', 'SELECT "a\0" FROM t'],
];

for (const [name, text] of hostile) {
  test(`${name}: to the leader, without delay`, () => {
    assert.deepEqual([classify(text).target, classify(text).reason], ['leader', 'unparsed']);
    assert.equal(classify(`SELECT ${'1, '.repeat(text.length % 7)}2`).target, 'follower');
  });
}

test('the cache is bounded', async () => {
  const options: ClassifierOptions = { entries: 64 };
  const own = await createClassifier(options);
  for (let i = 0; i < 1000; i += 1) own.classify(Buffer.from(`SELECT c${i} FROM t`), someCatalog, OPTIONS);
  assert.ok(own.stats.entries <= 64);
});

const HOSTILE: Readonly<Record<string, string>> = {
  'comments within comments': `${'/*'.repeat(15_000)}${'*/'.repeat(15_000)}SELECT 1`,
  parentheses: `SELECT ${'('.repeat(30_000)}1${')'.repeat(30_000)}`,
  'parentheses within the bounds': `SELECT ${'('.repeat(499)}1${')'.repeat(499)}`,
  'a chain of operators': `SELECT 1${'+1'.repeat(30_000)}`,
  'signs without spaces': `SELECT ${'+-'.repeat(1_900)}1`,
  'a chain of NOT': `SELECT ${'NOT '.repeat(4_900)}true`,
  'CASE within CASE': `SELECT ${'CASE WHEN true THEN '.repeat(1_200)}1${' END'.repeat(1_200)}`,
  'a chain of casts': `SELECT 1${'::int'.repeat(4_000)}`,
  subqueries: `SELECT * FROM ${'(SELECT * FROM '.repeat(490)}t${') a'.repeat(490)}`,
  subscripts: `SELECT a${'[1]'.repeat(10_000)}`,
  'a long list': `SELECT 1 WHERE a IN (${'1,'.repeat(15_000)}1)`,
  unions: `SELECT 1${' UNION SELECT 1'.repeat(2_000)}`,
  semicolons: ';'.repeat(60_000),
  'open quotes': `SELECT ${"'''".repeat(20_000)}`,
  'dollar signs': '$'.repeat(60_000),
  'dollar tags': Array.from({ length: 5_000 }, (_, i) => `$a${i}$`).join(''),
};
for (const [name, text] of Object.entries(HOSTILE)) {
  test(`a large text of ${name} is classified without holding everybody up`, async () => {
    const own = await createClassifier();
    own.classify(Buffer.from('SELECT 1'), someCatalog, OPTIONS);
    const before = process.cpuUsage();
    own.classify(Buffer.from(text), someCatalog, OPTIONS);
    const { user, system } = process.cpuUsage(before);
    assert.ok(user + system < 400_000, `${(user + system) / 1000} ms of processor time`);
    assert.equal(own.classify(Buffer.from('SELECT 2'), someCatalog, OPTIONS).target, 'follower');
  });
}
