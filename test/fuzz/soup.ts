import type { Random } from '../simulation/random.ts';
import { TOPICS, sqlOf } from './grammar.ts';

const TOKENS: readonly string[] = [
  'SELECT',
  'FROM',
  'WHERE',
  'INSERT INTO',
  'VALUES',
  'UPDATE',
  'SET',
  'DELETE',
  'WITH',
  'AS',
  'BEGIN',
  'COMMIT',
  'ROLLBACK',
  'RESET',
  'PREPARE',
  'EXECUTE',
  'FOR UPDATE',
  'INTO',
  'COPY',
  'TO',
  'STDIN',
  'DO',
  'CALL',
  'DECLARE',
  'CURSOR',
  'LOCAL',
  'ALL',
  'NULL',
  'E',
  'U&',
  't',
  'f()',
  'nextval',
  '"q"',
  '"',
  "'",
  "''",
  "E'\\''",
  "U&'\\0041'",
  "B'01'",
  '$$',
  '$a$',
  '$1',
  '$',
  '1',
  '1.5e3',
  '0x1f',
  '1_000',
  '--',
  '\n',
  '/*',
  '*/',
  '/* leasehold: follower */',
  '/* leasehold: leader */',
  ';',
  ',',
  '(',
  ')',
  '[',
  ']',
  '.',
  '::',
  ':',
  '=',
  '*',
  '||',
  '\\',
  '\0',
  '\xff',
  'é',
  '\u2028',
  '\t',
  '@>',
  '->>',
  '?',
  '!',
  '<>',
  ':=',
  '=>',
  '..',
];

/** Statements, tokens and bytes in no sensible order. */
export function soup(random: Random): Buffer {
  const kind = random.below(4);
  if (kind === 0) {
    const words = Array.from({ length: 1 + random.below(40) }, () => TOKENS[random.below(TOKENS.length)] ?? '');
    return Buffer.from(words.join(random.chance(0.5) ? ' ' : ''), random.chance(0.5) ? 'utf8' : 'latin1');
  }
  if (kind === 1) return Buffer.from(Array.from({ length: random.below(200) }, () => random.below(256)));
  const text = Buffer.from(sqlOf(random, TOPICS as unknown as [(typeof TOPICS)[number]], 1));
  if (kind === 2) return text;
  const at = random.below(text.length + 1);
  const token = Buffer.from(TOKENS[random.below(TOKENS.length)] ?? '');
  return Buffer.concat([text.subarray(0, at), token, text.subarray(at + random.below(3))]);
}
