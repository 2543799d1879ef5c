import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { createClassifier } from './classify.ts';
import { someCatalog } from '../../test/support/volatility.ts';
import type { Classifier } from './types.ts';

let classifier: Classifier;
before(async () => {
  classifier = await createClassifier();
});

const OPTIONS = { standardConformingStrings: true, systemCatalogs: 'leader' } as const;
const E_QUOTE = String.raw`\'`;

/** Texts that look like something else: a write among literals, a read that seems to write. */
const TEXTS: readonly (readonly [name: string, text: string, target: 'leader' | 'follower'])[] = [
  ['a write behind a line comment', '-- SELECT\nDELETE FROM t', 'leader'],
  ['a write behind nested comments', '/* /* SELECT */ SELECT */ DELETE FROM t', 'leader'],
  ['a read with a write in a comment', 'SELECT 1 /* ; DELETE FROM t */', 'follower'],
  ['a read with a write in a line comment', 'SELECT 1 -- ; DELETE FROM t', 'follower'],
  ['a write after a line comment that a carriage return ends', '-- x\rDELETE FROM t', 'leader'],
  ['a comment inside a statement', 'SELECT/*x*/1/*y*/FROM/**/t', 'follower'],
  ['a comment inside a locking clause', 'SELECT * FROM t FOR/**/UPDATE', 'leader'],
  ['a read with a write in a string', "SELECT '; DELETE FROM t'", 'follower'],
  ['a string with doubled quotes', "SELECT 'it''s; DELETE FROM t'", 'follower'],
  ['a write after a string that ends in a backslash', `SELECT '\\'; DELETE FROM t --'`, 'leader'],
  ['an escape string with a quote inside', `SELECT E'${E_QUOTE}; DELETE FROM t'`, 'follower'],
  ['a write after an escape string', `SELECT E'${E_QUOTE}'; DELETE FROM t`, 'leader'],
  ['a write between two escape strings', `SELECT E'${E_QUOTE}'; DELETE FROM t WHERE a = E'${E_QUOTE}'`, 'leader'],
  ['a dollar-quoted write', 'SELECT $$; DELETE FROM t$$', 'follower'],
  ['a dollar quote with a tag and another inside', 'SELECT $a$ $$ $b$ ; DELETE FROM t $a$', 'follower'],
  ['a write after a dollar quote', 'SELECT $a$ x $a$; DELETE FROM t', 'leader'],
  ['a name that contains a dollar', 'SELECT a$b$ FROM t WHERE c = $1; DELETE FROM t WHERE d$b$ = 1', 'leader'],
  ['a quoted name with a write in it', 'SELECT 1 AS "; DELETE FROM t"', 'follower'],
  ['a unicode string', String.raw`SELECT U&'\0041; DELETE FROM t'`, 'follower'],
  ['a unicode name that spells nextval', String.raw`SELECT U&"nextv\0061l"('q')`, 'leader'],
  ['a unicode name with another escape', String.raw`SELECT U&"nextv!0061l" UESCAPE '!' ('q')`, 'leader'],
  ['a function name in capitals and quotes', `SELECT "nextval"('q')`, 'leader'],
  ['a function name in mixed case', `SELECT NextVal('q')`, 'leader'],
  ['a bit string, a hex string, a national one', "SELECT B'01', X'1F', N'x'", 'follower'],
  ['a string that goes on in the next line', "SELECT 'a'\n'; DELETE FROM t'", 'follower'],
  ['operators without spaces', 'SELECT 1+-2*3, a-1, b<-1, c||d FROM t', 'follower'],
  ['a minus before a comment', 'SELECT 1---2', 'follower'],
  ['numbers of every form', 'SELECT .5, 1e3, 0x1F, 1_000', 'follower'],
  ['a number that runs into a name', 'SELECT 1.e', 'leader'],
  ['a cast without spaces', "SELECT '1'::int::text", 'follower'],
  ['an array subscript and a parameter', 'SELECT a[$1], $2::int', 'follower'],
  ['a column called like a command', 'SELECT "delete", "insert" FROM t', 'follower'],
  ['a CTE called like a command', 'WITH delete AS (SELECT 1) SELECT * FROM delete', 'follower'],
  ['a write in a CTE of a read', 'WITH x AS (SELECT 1), y AS (UPDATE t SET a = 1 RETURNING *) TABLE y', 'leader'],
  ['a lock in a CTE that is not used', 'WITH x AS MATERIALIZED (SELECT * FROM t FOR UPDATE) SELECT 1', 'leader'],
  ['white space of every kind', '\t\n\v\f\r SELECT\t1', 'follower'],
  ['semicolons alone', ';;;', 'follower'],
  ['an empty text', '', 'follower'],
  ['a comment alone', '-- nothing', 'follower'],
  ['a byte order mark', '\ufeffSELECT 1', 'leader'],
  ['a no-break space', 'SELECT\u00a01; DELETE FROM t', 'leader'],
  ['an open string', "SELECT '", 'leader'],
  ['an open comment', 'SELECT 1 /* x', 'leader'],
  ['an open dollar quote', 'SELECT $a$ x', 'leader'],
];

for (const [name, text, target] of TEXTS) {
  test(`${name} goes to the ${target}`, () => {
    assert.equal(classifier.classify(Buffer.from(text), someCatalog, OPTIONS).target, target);
    // And from the cache, where texts that differ in their literals share a place.
    assert.equal(classifier.classify(Buffer.from(text), someCatalog, OPTIONS).target, target);
  });
}

test('with standard_conforming_strings off a backslash escapes: what PostgreSQL reads as a write is no read', () => {
  const off = { ...OPTIONS, standardConformingStrings: false };
  for (const text of [`SELECT '\\'; DELETE FROM t --'`, `SELECT '\\'', 1; DELETE FROM t WHERE a = '\\''`]) {
    assert.equal(classifier.classify(Buffer.from(text), someCatalog, off).target, 'leader', text);
  }
  assert.equal(classifier.classify(Buffer.from("SELECT 'plain'"), someCatalog, off).target, 'follower');
});

test('bytes that are no UTF-8 are never a reason to hide a write', () => {
  for (const bytes of [[0xff], [0xc0, 0x27], [0xe9], [0x81, 0x5c]]) {
    const text = Buffer.concat([Buffer.from("SELECT '"), Buffer.from(bytes), Buffer.from("'; DELETE FROM t")]);
    assert.equal(classifier.classify(text, someCatalog, OPTIONS).target, 'leader');
  }
});
