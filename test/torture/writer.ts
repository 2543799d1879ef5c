import { setTimeout as sleep } from 'node:timers/promises';
import { type ClientContext, OutOfPatience, Session, sqlStateOf } from './client.ts';
import { type Append, verdictOf, type WriteOperation } from './history.ts';
import { readLast } from './reader.ts';

/** One row more in the list of a key, at the next place; timeline and server are told by the defaults of the table. */
const APPEND = `WITH head AS (UPDATE torture.heads SET n = n + 1 WHERE key = $1 RETURNING n)
  INSERT INTO torture.items (key, n, value) SELECT $1, n, $2 FROM head RETURNING n, timeline, server`;

/**
 * Appends to its own key and to shared ones, alone or in transactions, each value once, and looks now and then for what
 * it wrote, until the context runs no more. A lost connection is a new session.
 */
export async function runWriter(context: ClientContext, index: number): Promise<void> {
  const ownKey = index + 1;
  let session: Session | null = null;
  while (context.running()) {
    session = session === null || session.gone ? await Session.open(context, index) : session;
    if (session === null) continue;
    const keys = pickKeys(context, ownKey);
    if (context.random.chance(0.5)) await appendAlone(context, session, keys[0] as number);
    else await appendTogether(context, session, keys);
    if (!session.gone && context.random.chance(0.3)) await readLast(context, session, keys[0] as number);
    await sleep(context.random.between(0, 20));
  }
  session?.leave();
}

/** In ascending order, so that transactions do not wait for each other in a circle. */
function pickKeys({ random, sharedKeys }: ClientContext, ownKey: number): number[] {
  const shared = random.pick(sharedKeys as [number]);
  const choice = random.below(4);
  if (choice === 0) return [shared];
  return choice === 1 ? [ownKey, shared] : [ownKey];
}

async function appendAlone(context: ClientContext, session: Session, key: number): Promise<void> {
  const value = context.recorder.nextValue();
  const startMs = performance.now();
  const told = { session, startMs, commitMs: startMs };
  try {
    const { rows } = await interrupted(context, session, () => session.query(APPEND, [key, value]));
    record(context, told, [appendOf(key, value, rows[0])], null);
  } catch (error) {
    record(context, told, [appendOf(key, value)], error);
  }
}

/** Now and then twice to the same key, and now and then rolled back. */
async function appendTogether(context: ClientContext, session: Session, keys: readonly number[]): Promise<void> {
  const { random, recorder } = context;
  const targets = random.chance(0.3) ? [...keys, ...keys].sort((a, b) => a - b) : keys;
  const appends: Append[] = targets.map((key) => appendOf(key, recorder.nextValue()));
  const startMs = performance.now();
  let commitMs: number | null = null;
  try {
    await session.query('BEGIN');
    for (const [i, { key, value }] of appends.entries()) {
      const { rows } = await session.query(APPEND, [key, value]);
      appends[i] = appendOf(key, value, rows[0]);
      if (random.chance(0.1)) await sleep(random.between(1, 100));
    }
    if (random.chance(0.1)) {
      await session.query('ROLLBACK');
      return record(context, { session, startMs, commitMs }, appends, null, 'refused');
    }
    commitMs = performance.now();
    const { command } = await interrupted(context, session, () => session.query('COMMIT'));
    record(context, { session, startMs, commitMs }, appends, null, command === 'COMMIT' ? 'acknowledged' : 'refused');
  } catch (error) {
    // Whatever was lost or refused before COMMIT was sent cannot have been committed.
    record(context, { session, startMs, commitMs }, appends, error, commitMs === null ? 'refused' : null);
    if (!session.gone) await session.query('ROLLBACK').catch(() => session.leave());
  }
}

/** Now and then the client cancels what commits, through whichever proxy, or dies in the midst of it. */
async function interrupted<T>(
  { random, proxies }: ClientContext,
  session: Session,
  query: () => Promise<T>,
): Promise<T> {
  const answer = query();
  const choice = random.below(50);
  if (choice > 1) return answer;
  answer.catch(() => {}); // told below
  await sleep(random.between(0, 6));
  const { hostname, port } = new URL(random.pick(proxies as [(typeof proxies)[number]]).url);
  if (choice === 0) session.cancel(hostname, Number(port));
  else session.vanish();
  return answer;
}

type Told = Pick<WriteOperation, 'startMs' | 'commitMs'> & { readonly session: Session };

function record(
  { recorder }: ClientContext,
  { session, startMs, commitMs }: Told,
  appends: readonly Append[],
  error: unknown,
  known: WriteOperation['verdict'] | null = null,
): void {
  const sqlState = error === null ? null : sqlStateOf(error);
  let verdict = known ?? (sqlState === null ? 'acknowledged' : verdictOf(sqlState));
  if (error instanceof OutOfPatience)
    recorder.fault(`session ${session.id} through ${session.proxy}: ${error.message}`);
  if (verdict === 'acknowledged' && session.warned) {
    recorder.fault(
      `session ${session.id} was told of success with a warning that it may not last: ${JSON.stringify(appends)}`,
    );
    verdict = 'unknown';
  }
  const { id, proxy } = session;
  const endMs = performance.now();
  recorder.write({ type: 'write', session: id, proxy, startMs, commitMs, endMs, verdict, sqlState, appends });
}

function appendOf(key: number, value: number, row?: Record<string, string>): Append {
  const { n, timeline, server } = row ?? {};
  return {
    key,
    value,
    n: n === undefined ? null : Number(n),
    timeline: timeline === undefined ? null : Number(timeline),
    server: server ?? null,
  };
}
