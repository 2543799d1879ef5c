import { setTimeout as sleep } from 'node:timers/promises';
import { type ClientContext, OutOfPatience, Session, sqlStateOf } from './client.ts';

const LAST = `SELECT n, value, host(inet_server_addr()) || ':' || inet_server_port() AS server
  FROM torture.items WHERE key = $1 ORDER BY n DESC LIMIT 1`;

/** Reads the ends of lists in one session. Movers take their session to the other proxy by its token every second or so. */
export async function runReader(
  context: ClientContext,
  index: number,
  keys: readonly number[],
  moves: boolean,
): Promise<void> {
  let session: Session | null = null;
  let at = index;
  let moveMs = 0;
  while (context.running()) {
    if (session === null || session.gone) session = await Session.open(context, ++at);
    if (session === null) continue;
    await readLast(context, session, context.random.pick(keys as [number]));
    if (moves && !session.gone && performance.now() > moveMs) {
      session = await moved(context, session, ++at);
      moveMs = performance.now() + context.random.between(300, 1500);
    }
    await sleep(context.random.between(0, 20));
  }
  session?.leave();
}

/** The session, where a key's list ends as it sees it. Its answer is the checker's; an error only counts. */
export async function readLast({ recorder }: ClientContext, session: Session, key: number): Promise<void> {
  const startMs = performance.now();
  try {
    const { rows } = await session.query(LAST, [key]);
    const { n = '0', value = '0', server = '' } = rows[0] ?? {};
    const { id, proxy } = session;
    const seen = { key, n: Number(n), value: Number(value), server };
    recorder.read({ type: 'read', session: id, proxy, startMs, endMs: performance.now(), ...seen });
  } catch (error) {
    if (error instanceof OutOfPatience)
      recorder.fault(`session ${session.id} through ${session.proxy}: ${error.message}`);
    recorder.readFailed(sqlStateOf(error));
  }
}

/** The same session on another connection: what it saw and wrote binds the other proxy too. Null where that fails: a new one begins. */
async function moved(context: ClientContext, session: Session, to: number): Promise<Session | null> {
  try {
    const { rows } = await session.query('SHOW leasehold.token');
    const token = Object.values(rows[0] ?? {})[0] ?? '';
    const next = await Session.open(context, to, session.id);
    session.leave();
    if (next === null) return null;
    await next.query(`SET leasehold.token = '${token}'`);
    context.recorder.counts.moves += 1;
    return next;
  } catch (error) {
    context.recorder.readFailed(sqlStateOf(error));
    session.leave();
    return null;
  }
}
