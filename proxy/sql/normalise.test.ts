import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { unreadCatalog } from '../../test/support/volatility.ts';
import { createClassifier } from './classify.ts';
import { createNormaliser } from './normalise.ts';
import type { Normalised } from './normalised.ts';

const normaliser = createNormaliser(4096);

function run(text: string | Buffer): Normalised & { readonly key: string } {
  const result = normaliser.run(Buffer.from(text), false);
  return { ...result, key: normaliser.scratch.toString('utf8', 0, result.length) };
}

const keys: [string, string, string][] = [
  ['numbers', 'SELECT 1, 2.5, .5, 1e10, 12345678901', 'select 0, 0.0, 0.0, 0.0, 0.0'],
  [
    'strings',
    `SELECT 'a', 'it''s', E'\\'', N'x', B'1', X'ff', $$a'b$$, $t$a$$b$t$`,
    `select ', ', ', n', b', x', ', '`,
  ],
  ['parameters stay', 'SELECT $1, $23', 'select $1, $23'],
  ['names are folded, quoted ones kept', 'SELECT "A""b", Abc, Été FROM T1', 'select "A""b", abc, Été from t1'],
  ['a number in a name is none', 'SELECT a1, t2.b3 FROM x', 'select a1, t2.b3 from x'],
  ['comments and white space', ' SELECT/* a /* b */ */1\n\t--x\n;  ', 'select 0 ;'],
  ['a comment inside an operator', 'SELECT 1+--x\n2', 'select 0+ 0'],
  ['a minus is no comment', 'SELECT 1 - -2', 'select 0 - -0'],
  ['slices', 'SELECT a[1:2] FROM t', 'select a[0:0] from t'],
  ['casts', "SELECT '1'::int", "select '::int"],
];

for (const [name, text, expected] of keys) {
  test(`key: ${name}`, () => assert.deepEqual([run(text).key, run(text).exact], [expected, false]));
}

const exact: [string, string][] = [
  ['a setting', 'SET a = 1'],
  ['a later statement that is a setting', 'SELECT 1; SET a = 1'],
  ['set_config', "SELECT pg_catalog.Set_Config('a', 'b', false)"],
  ['set_config in quotes', `SELECT "set_config"('a', 'b', false)`],
  ['a name that escapes may spell', `SELECT U&"set\\005fconfig"('a', 'b', false)`],
  ['a continued string', "SELECT E'a'\n'b'"],
  ['numbers that versions read differently', 'SELECT 0x1F'],
  ['digits with underscores', 'SELECT 1_000'],
  ['junk after a parameter', 'SELECT $1a'],
];

for (const [name, text] of exact) {
  test(`${name} is keyed by its text`, () => assert.equal(run(text).exact, true));
}

test('what does not end is broken', () => {
  for (const text of ["'a", '"a', '$$a', '/* a', '/* /* */', 'a $ b', "E'\\'"]) {
    assert.equal(run(`SELECT ${text}`).broken, true, text);
  }
});

test('hints count before the first token only', () => {
  assert.equal(run('/* leasehold: leader */ SELECT 1').hint, 1);
  assert.equal(run('-- x\n/*LEASEHOLD:follower*/SELECT 1').hint, 2);
  assert.equal(run('SELECT 1 /* leasehold: leader */').hint, 0);
  assert.equal(run('/* leasehold: nobody */ SELECT 1').hint, 0);
  assert.equal(run('/* leasehold: consistency=eventual */ SELECT 1').hint, 3);
});

test('a literal that names a setting of the proxy’s own makes the text its own key, others do not', () => {
  assert.equal(run("SELECT current_setting('Leasehold.node')").exact, true);
  assert.equal(run("SELECT current_setting('app.tenant'), 'lease', 'leasehold'").exact, false);
});

test('other literals do not change the key', () => {
  const literal = fc.oneof(
    fc.integer({ min: 0, max: 99_999 }).map(String),
    fc.string().map((text) => `'${text.replaceAll("'", "''").replaceAll('\0', '')}'`),
  );
  const shape = fc.array(fc.constantFrom('a', ',', '(', ')', '+', 'WHERE x =', '||'), { maxLength: 8 });
  fc.assert(
    fc.property(shape, fc.array(fc.tuple(literal, literal), { minLength: 8, maxLength: 8 }), (parts, pairs) => {
      const sides = [0, 1].map((side) =>
        parts
          .map(
            (part, i) =>
              `${part} ${pairs[i]?.[0]?.startsWith("'") === pairs[i]?.[1]?.startsWith("'") ? pairs[i]?.[side] : 1}`,
          )
          .join(' '),
      );
      assert.equal(run(`SELECT ${sides[0]}`).key, run(`SELECT ${sides[1]}`).key);
    }),
  );
});

test('random bytes never throw, and the key fits', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.boolean(), (bytes, escapes) => {
      const { length } = normaliser.run(Buffer.from(bytes), escapes);
      assert.ok(length >= 0 && length <= 2 * bytes.length);
    }),
    { numRuns: 2000 },
  );
});

/** Pieces of SQL, put together at random: most are nonsense, many parse. */
const piece = fc.constantFrom(
  ...`SELECT FROM t WHERE a = 1 2.5 'x' 'y' E'\\'' $$z$$ $1 , ( ) ; -- /* */ * + - "q" nextval('s') now() FOR UPDATE AND
   INSERT INTO VALUES DELETE WITH AS UNION ALL BEGIN set_config('a','b',false) ::int . [ ] U&'d' b'1' 0x1 \n ' " $ \\`
    .split(/[ ]+/)
    .filter((part) => part !== ''),
);
const classifyOptions = { standardConformingStrings: true, systemCatalogs: 'leader' } as const;

test('texts of one key have one class: a cache answers as a fresh parser would', async () => {
  const shared = await createClassifier();
  const texts = fc.array(piece, { maxLength: 12 }).map((parts) => Buffer.from(`SELECT ${parts.join(' ')}`));
  const seen = new Map<string, string>();
  fc.assert(
    fc.property(texts, (text) => {
      const { exact: keyedByText, broken, length } = normaliser.run(text, false);
      if (keyedByText || broken) return;
      const key = normaliser.scratch.toString('latin1', 0, length);
      const { target, reason, pins } = shared.classify(text, unreadCatalog, classifyOptions);
      // What the parser refused is PostgreSQL's to refuse, on whichever node.
      if (reason === 'unparsed') return;
      const answer = JSON.stringify([target, reason, pins]);
      assert.equal(seen.get(key) ?? answer, answer);
      seen.set(key, answer);
    }),
    { numRuns: 3000 },
  );
});

test('classifying never throws, whatever the bytes', async () => {
  const classifier = await createClassifier();
  const text = fc.oneof(
    fc.uint8Array({ maxLength: 200 }),
    fc.array(piece).map((parts) => Buffer.from(parts.join(' '))),
  );
  fc.assert(
    fc.property(text, fc.boolean(), (bytes, standardConformingStrings) => {
      const { target } = classifier.classify(Buffer.from(bytes), unreadCatalog, {
        ...classifyOptions,
        standardConformingStrings,
      });
      assert.ok(['leader', 'follower', 'proxy'].includes(target));
    }),
    { numRuns: 2000 },
  );
});
