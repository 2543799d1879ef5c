import pg from 'pg';

/**
 * What a client must never find on a server connection that others used before: their settings, names, locks, temporary
 * objects, channels. Asked through the proxy, on the leader and on a follower.
 */
const LEFTOVERS = `SELECT
  (SELECT string_agg(name || '=' || setting, ', ' ORDER BY name) FROM pg_settings WHERE setting IS DISTINCT FROM reset_val) AS settings,
  nullif(current_setting('custom.mine', true), '') AS custom,
  (SELECT string_agg(name, ', ') FROM pg_prepared_statements WHERE name NOT LIKE 'leasehold%') AS statements,
  (SELECT string_agg(name, ', ') FROM pg_cursors WHERE name <> '') AS cursors,
  (SELECT string_agg(c, ', ') FROM pg_listening_channels() AS c) AS channels,
  (SELECT string_agg(relname, ', ') FROM pg_class WHERE relnamespace = pg_my_temp_schema()) AS temporary,
  (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()) AS locks,
  current_user AS "user"`;

/** Text to compare with an earlier one. */
export async function leftovers(port: number): Promise<string> {
  const client = new pg.Client({
    host: '127.0.0.1',
    port,
    user: 'app',
    password: 'app',
    database: 'app',
    application_name: 'canary',
  });
  client.on('error', () => undefined);
  await client.connect();
  try {
    const lines: string[] = [];
    for (const role of ['leader', 'follower']) {
      const { rows } = await client.query<Record<string, string | null>>(`/* leasehold: ${role} */ ${LEFTOVERS}`);
      lines.push(`${role}: ${JSON.stringify(rows[0])}`);
    }
    return lines.join('\n');
  } finally {
    await client.end();
  }
}
