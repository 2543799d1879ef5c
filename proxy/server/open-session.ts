import { ClientError } from '../../common/errors.ts';
import { parseStartupOptions } from '../auth/startup-options.ts';
import type { AcceptedClient } from '../auth/types.ts';
import { isOwnSetting, NO_OWN, type OwnValues, withOwn } from '../routing/own-settings.ts';
import { type SettingsImage, startupImage } from '../routing/settings-image.ts';
import { backendKeyData, READY_IDLE } from '../wire/encode.ts';
import type { SessionContext } from '../session/context.ts';
import { settleDoubt } from '../session/give-back.ts';
import { asClientError } from '../session/errors.ts';
import { TOKEN } from '../session/own-settings.ts';
import { bringTo } from '../session/settings-restore.ts';
import type { Need } from '../session/level.ts';
import { find, type Placed } from '../session/servers.ts';
import { Session } from '../session/session.ts';
import { reachToken } from '../session/token.ts';
import { Unit } from '../session/unit.ts';
import { adoptDefaults } from './role-settings.ts';

/** Start-up parameters that are not settings. */
const NOT_SETTINGS = new Set(['user', 'database', 'replication', 'options']);
/** Images of start-up parameters that are shared, so that sessions of one kind find backends already set as they want. */
const MAX_IMAGES = 1_000;
const images = new Map<string, SettingsImage>();

/**
 * Makes a session of an authenticated client: its settings are tried on a server, which also proves that the
 * database exists, and the client is told the server's parameters, its cancel key, and that it may begin. The client has been
 * refused with a FATAL error when the result is null.
 */
export async function openSession(
  context: SessionContext,
  client: AcceptedClient,
  register: (session: Session) => void,
  onClosed: (session: Session) => void,
): Promise<Session | null> {
  const bare = (image: SettingsImage, own = NO_OWN): Session => {
    const key = context.cancelKeys.give(client.protocolMinor, (done) => made.cancel(done));
    const made: Session = new Session(context, client, key, image, own, (closed) => {
      context.cancelKeys.revoke(closed);
      onClosed(closed);
    });
    register(made);
    return made;
  };
  let session: Session | null = null;
  context.pools.noteLogin(client.user, client.database, client.credentials);
  try {
    const { settings, own, token } = readSettings(client);
    const image = imageOf(settings);
    session = bare(image, own);
    await introduce(session, image, token);
  } catch (error) {
    session ??= bare(new Map());
    session.terminate(asClientError(error));
    return null;
  }
  // While it was introduced the client may have gone.
  if (session.socket.destroyed || session.phase === 'closed') {
    session.close();
    return null;
  }
  session.start();
  return session;
}

async function introduce(session: Session, image: SettingsImage, token: string | null): Promise<void> {
  const abort = new AbortController();
  const onGone = (): void => abort.abort(new Error('the client has gone'));
  session.socket.on('close', onGone);
  session.waiting = abort;
  session.waitingFor = 'connection';
  session.waitingSinceMs = session.context.clock.nowMs();
  try {
    if (token !== null) await reachToken(session, token, abort.signal);
    await adoptDefaults(session, abort.signal);
    const { backend, pool, pass } = await findFor(session, image, abort.signal);
    try {
      session.tellParameters(backend);
      if (session.home.keeps(backend)) renameTo(session, backend.processId);
    } finally {
      pass?.leave();
      if (session.home.keeps(backend)) session.home.park(backend, pool);
      else pool.give(backend);
    }
  } finally {
    session.waiting = null;
    session.waitingFor = null;
    session.socket.off('close', onGone);
  }
  session.out.send(backendKeyData(session.processId, session.secretKey));
  session.out.send(READY_IDLE);
  session.out.flush();
}

/** Session pooling: its clients get the process id of their own server. */
function renameTo(session: Session, processId: number): void {
  const { cancelKeys } = session.context;
  cancelKeys.revoke(session);
  const key = cancelKeys.give(session.client.protocolMinor, (done) => session.cancel(done), processId);
  session.processId = key.processId;
  session.secretKey = key.secretKey;
}

/** A server with the client's settings. What a follower refuses, the leader may know better: the role may be new. */
async function findFor(session: Session, image: SettingsImage, signal: AbortSignal): Promise<Placed> {
  const placed = await find(session, new Unit(), introductionNeed(session), signal);
  settleDoubt(session, placed.backend);
  try {
    if (placed.backend.settings !== image) await bringTo(placed.backend, image);
    return placed;
  } catch (error) {
    placed.pass?.leave();
    placed.pool.give(placed.backend);
    if (placed.backend.place.role === 'leader' || !(error instanceof ClientError) || !leads(session)) throw error;
  }
  const onLeader = await find(session, new Unit(), 'leader', signal);
  settleDoubt(session, onLeader.backend);
  try {
    if (onLeader.backend.settings !== image) await bringTo(onLeader.backend, image);
    return onLeader;
  } catch (error) {
    onLeader.pass?.leave();
    onLeader.pool.give(onLeader.backend);
    throw error;
  }
}

/** Session pooling takes its connection at once, and shadow mode keeps off the followers; nobody waits for a leader that is being elected. */
function introductionNeed(session: Session): Need {
  return (session.home.wanted || session.scoped.shadow) && leads(session) ? 'leader' : 'any';
}

function leads(session: Session): boolean {
  const pass = session.context.gate.tryEnter();
  pass?.leave();
  return pass !== null;
}

interface StartupSettings {
  readonly settings: Map<string, string>;
  readonly own: OwnValues;
  readonly token: string | null;
}

/** Throws ClientError (22023, 42704) for a setting of the proxy's own that it does not know. */
function readSettings(client: AcceptedClient): StartupSettings {
  const settings = new Map<string, string>();
  let own = NO_OWN;
  let token: string | null = null;
  const take = (name: string, value: string): void => {
    const lower = name.toLowerCase();
    if (lower === TOKEN) token = value;
    else if (isOwnSetting(lower)) own = withOwn(own, lower, value);
    else settings.set(lower, value);
  };
  // Those of `options` come first: a parameter of its own is the more specific one.
  const options = client.parameters.get('options');
  if (options !== undefined) for (const [name, value] of parseStartupOptions(options)) take(name, value);
  for (const [name, value] of client.parameters) {
    if (!NOT_SETTINGS.has(name) && !name.startsWith('_pq_.')) take(name, value);
  }
  return { settings, own, token };
}

function imageOf(settings: ReadonlyMap<string, string>): SettingsImage {
  const key = JSON.stringify([...settings].sort(([a], [b]) => (a < b ? -1 : 1)));
  const known = images.get(key);
  if (known !== undefined) return known;
  if (images.size >= MAX_IMAGES) images.clear();
  const image = startupImage(settings);
  images.set(key, image);
  return image;
}
