import { Fields, HbaError, named } from './hba-rules.ts';
import type { HbaLine } from './hba-text.ts';
import { isListedRole, type NameToken } from './names-match.ts';
import type { RuleQuestions } from './policy.ts';

/** One line of pg_ident.conf: a system user (or a pattern) of a map may be a role. */
export interface IdentLine {
  readonly map: string;
  readonly systemUser: NameToken;
  readonly role: NameToken;
}

/** Throws HbaError (parse_ident_line of hba.c). */
export function parseIdentLine(line: HbaLine): IdentLine {
  const fields = new Fields(line);
  const map = fields.single('map name', 'map name').text;
  const systemUser = named(fields.single('system user name', 'system user name'));
  const role = named(fields.single('database user name', 'database user name'));
  if (fields.rest().length > 0) throw new HbaError('too many fields');
  return { map, systemUser, role };
}

/** Whether a system user may be this role (check_usermap of hba.c). Without a map the names must be equal. */
export async function isMapped(
  lines: readonly IdentLine[],
  map: string | null,
  systemUser: string,
  user: string,
  questions: RuleQuestions,
): Promise<boolean> {
  if (map === null || map === '') return systemUser === user;
  for (const line of lines) {
    if (line.map !== map) continue;
    const role = roleOf(line, systemUser);
    if (role !== null && (await isListedRole([role], user, () => questions.memberOf()))) return true;
  }
  return false;
}

/** Null: the line is not about this system user. `\1` in a role is what the first group of the pattern found. */
function roleOf({ systemUser, role }: IdentLine, name: string): NameToken | null {
  if (systemUser.pattern === null) return systemUser.text === name ? role : null;
  const match = systemUser.pattern.exec(name);
  if (match === null) return null;
  const special = role.pattern !== null || (!role.quoted && role.text.startsWith('+'));
  if (special || !role.text.includes('\\1')) return role;
  if (match[1] === undefined) return null;
  return { text: role.text.replace('\\1', () => match[1] as string), quoted: true, pattern: null };
}
