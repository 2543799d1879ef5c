import type { Token } from './hba-text.ts';

/** A token of a list of users or databases, ready to be compared. */
export interface NameToken extends Token {
  /** Of `/regular expression`; null: a name or a keyword. */
  readonly pattern: RegExp | null;
}

/** Throws SyntaxError for a pattern that is none. */
export function nameToken(token: Token): NameToken {
  if (!token.text.startsWith('/')) return { ...token, pattern: null };
  return { ...token, pattern: patternOf(token.text.slice(1)) };
}

/** A keyword is never quoted. */
export function isKeyword(token: Token, word: string): boolean {
  return !token.quoted && token.text === word;
}

/** Whether a role is in a list: by name, `all`, `+group`, or a pattern (check_role of hba.c). */
export async function isListedRole(
  tokens: readonly NameToken[],
  user: string,
  memberOf: () => Promise<ReadonlySet<string>>,
): Promise<boolean> {
  for (const token of tokens) {
    if (!token.quoted && token.text.startsWith('+')) {
      if ((await memberOf()).has(token.text.slice(1))) return true;
    } else if (isKeyword(token, 'all')) return true;
    else if (token.pattern === null ? token.text === user : token.pattern.test(user)) return true;
  }
  return false;
}

/** PostgreSQL's regular expressions are written nearly as JavaScript's; what differs and is used in names is translated. */
export function patternOf(source: string): RegExp {
  if (/^\*\*\*|\(\?[a-z]+\)|\[[.=]/.test(source)) throw new SyntaxError('not supported by the proxy');
  const translated = source
    .replaceAll(/\[:(\w+):\]/g, (_, name: string) => {
      const inside = CLASSES.get(name);
      if (inside === undefined) throw new SyntaxError(`invalid character class "${name}"`);
      return inside;
    })
    .replaceAll(/\\([\s\S])/g, (whole, character: string) => ESCAPES.get(character) ?? whole);
  try {
    return new RegExp(translated, 'u');
  } catch {
    return new RegExp(translated);
  }
}

const CLASSES: ReadonlyMap<string, string> = new Map([
  ['alpha', '\\p{L}'],
  ['alnum', '\\p{L}\\p{N}'],
  ['digit', '0-9'],
  ['lower', '\\p{Ll}'],
  ['upper', '\\p{Lu}'],
  ['space', '\\s'],
  ['punct', '!-\\/:-@\\[-`{-~'],
  ['xdigit', '0-9A-Fa-f'],
  ['word', '\\w'],
]);
const ESCAPES: ReadonlyMap<string, string> = new Map([
  ['A', '^'],
  ['Z', '$'],
  ['m', '\\b(?=\\w)'],
  ['M', '\\b(?<=\\w)'],
  ['y', '\\b'],
  ['Y', '\\B'],
]);
