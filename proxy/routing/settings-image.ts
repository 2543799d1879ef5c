/** One setting that differs from a fresh connection's. `sql` makes it so on another backend. */
export interface Setting {
  readonly value: string;
  readonly sql: string;
}

/**
 * Settings by name in lower case, in the order in which they were last set. Never mutated: two images are equal if they
 * are the same object, which is the check for every unit.
 */
export type SettingsImage = ReadonlyMap<string, Setting>;

export const NO_SETTINGS: SettingsImage = new Map();

/** Who the session is. What may be set depends on it, so it comes first and changes of it start anew. */
export const IDENTITY_SETTINGS = ['session_authorization', 'role'] as const;

/**
 * The image of a client's start-up parameters (user, database, replication, options and `_pq_.*` taken out by the
 * caller, `options` split into settings). Values are single strings as libpq sends them, so they are set with
 * set_config: `SET search_path = 'a, b'` would name one schema.
 */
export function startupImage(parameters: ReadonlyMap<string, string>): SettingsImage {
  const image = new Map<string, Setting>();
  for (const [name, value] of parameters) {
    const sql = `SELECT pg_catalog.set_config(${quoteLiteral(name)}, ${quoteLiteral(value)}, false)`;
    image.set(name.toLowerCase(), { value, sql });
  }
  return image;
}

/**
 * The statements that turn a backend which has `from` into one that has `to`; null when there is nothing to do. Each
 * is a whole statement without its semicolon; SELECTs among them answer with a row. At most 2 × MAX_SETTINGS + 3.
 *
 * A change of role or session user starts anew, because what went before may have been allowed to the other
 * role only; then everything is set in the order in which the client set it.
 */
export function settingsDiff(from: SettingsImage, to: SettingsImage): string[] | null {
  if (from === to) return null;
  const statements: string[] = [];
  if (identityOf(from) !== identityOf(to)) {
    statements.push('RESET SESSION AUTHORIZATION', 'RESET ROLE', 'RESET ALL');
    for (const setting of to.values()) statements.push(setting.sql);
    return statements;
  }
  for (const name of from.keys()) if (!to.has(name)) statements.push(resetSql(name));
  for (const [name, setting] of to) {
    const has = from.get(name);
    if (has?.sql === setting.sql) continue;
    // A SET of one of its parts would keep the other one of whoever had the backend before.
    if (name === 'datestyle' && has !== undefined) statements.push(resetSql(name));
    statements.push(setting.sql);
  }
  return statements.length === 0 ? null : statements;
}

/** The settings that are reported with ParameterStatus: what a client must be told when its backend changes. */
export const REPORTED_SETTINGS: ReadonlySet<string> = new Set([
  'application_name',
  'client_encoding',
  'datestyle',
  'default_transaction_read_only',
  'in_hot_standby',
  'integer_datetimes',
  'intervalstyle',
  'is_superuser',
  'scram_iterations',
  'search_path',
  'server_encoding',
  'server_version',
  'session_authorization',
  'standard_conforming_strings',
  'timezone',
]);

function identityOf(image: SettingsImage): string {
  return IDENTITY_SETTINGS.map((name) => image.get(name)?.sql ?? '').join('\n');
}

/** Names may be of two parts and need quotes (`my.setting`). */
function resetSql(name: string): string {
  const parts = name.split('.').map((part) => `"${part.replaceAll('"', '""')}"`);
  return `RESET ${parts.join('.')}`;
}

/** E'' so that a backslash means the same whatever standard_conforming_strings says. */
export function quoteLiteral(text: string): string {
  const doubled = text.replaceAll("'", "''");
  return doubled.includes('\\') ? `E'${doubled.replaceAll('\\', '\\\\')}'` : `'${doubled}'`;
}

/** `image` less one entry; `empty` when none is left. */
export function without<T>(
  image: ReadonlyMap<string, T>,
  name: string,
  empty: ReadonlyMap<string, T>,
): ReadonlyMap<string, T> {
  if (!image.has(name)) return image;
  const next = new Map(image);
  next.delete(name);
  return next.size === 0 ? empty : next;
}
