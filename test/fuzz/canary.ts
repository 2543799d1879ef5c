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
  current_user AS "user",
  pg_is_in_recovery() AS recovery`;

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
    for (const role of ['leader', 'follower'] as const) lines.push(`${role}: ${await ask(client, role)}`);
    return lines.join('\n');
  } finally {
    await client.end();
  }
}

/** A follower that is behind for a moment leaves its reads to the leader: then it is asked again. */
async function ask(client: pg.Client, role: 'leader' | 'follower'): Promise<string> {
  for (let tries = 0; ; tries++) {
    const { rows } = await client.query<{ recovery: boolean }>(`/* leasehold: ${role} */ ${LEFTOVERS}`);
    if (rows[0]?.recovery === (role === 'follower') || tries > 100) return JSON.stringify(rows[0]);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
