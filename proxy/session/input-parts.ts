import { ClientError } from '../../common/errors.ts';
import { decodeBind } from '../wire/decode.ts';
import { bind } from '../wire/encode.ts';
import { type GatherLimits, gatherLimits } from '../wire/frames.ts';
import type { Entry } from './exchange.ts';
import { begin, CALL, COPY_DATA, mayFeed, QUERY, queryEntry } from './input.ts';
import { mergePlans, OPAQUE_PLAN } from './plan.ts';
import { releaseAfterUnit } from './release.ts';
import { sendEntry } from './send.ts';
import type { Session } from './session.ts';
import { dropUnnamed, Unit } from './unit.ts';

/** A piece of a message that is too long to be kept, or of COPY data. */
export function onInputPart(
  session: Session,
  type: number,
  buffer: Buffer,
  start: number,
  end: number,
  first: boolean,
  last: boolean,
): void {
  const piece = buffer.subarray(start, end);
  if (first && session.phase !== 'copy-in' && type !== COPY_DATA) {
    startParted(session, type, piece);
    return;
  }
  if (session.phase === 'copy-in' || session.partOpen || session.copyPart) {
    if (!mayFeed(session)) return;
    session.backend?.relay(buffer, start, end);
    if (type === COPY_DATA) session.copyPart = !last && session.backend !== null;
    if (last && type === COPY_DATA) releaseAfterCopy(session);
  }
  if (!last || !session.partOpen) return;
  session.partOpen = false;
  if (type === QUERY || type === CALL) session.phase = 'busy';
}

/** The unit was over before: its server was kept for the rest of the message, which it ignores. */
function releaseAfterCopy(session: Session): void {
  if (session.phase !== 'idle' || session.transaction.kind !== 'idle') return;
  session.backend?.flushRelayed();
  releaseAfterUnit(session);
}

function startParted(session: Session, type: number, piece: Buffer): void {
  if (session.phase === 'discarding' || session.exchange.skipping) return;
  if (session.phase === 'open' && !mayFeed(session)) return;
  if (type === QUERY || type === CALL) {
    const unit = session.phase === 'gathering' ? (session.unit as Unit) : new Unit();
    if (session.phase === 'open') {
      const open = session.unit as Unit;
      open.plan = mergePlans(open.plan, OPAQUE_PLAN);
      sendEntry(session, partedEntry(session, type, piece));
      session.partOpen = true;
      return;
    }
    unit.plan = mergePlans(unit.plan, OPAQUE_PLAN);
    unit.add(partedEntry(session, type, piece));
    startPartedUnit(session, unit);
    return;
  }
  if (type !== 0x42) throw tooLong(session, piece);
  startPartedBind(session, piece);
}

function partedEntry(session: Session, type: number, piece: Buffer): Entry {
  if (type === CALL) return queryEntry(piece, 'call');
  return { ...queryEntry(piece), undo: dropUnnamed(session.statements) };
}

function startPartedUnit(session: Session, unit: Unit): void {
  unit.streamed = true;
  session.partOpen = true;
  begin(session, unit);
}

/** The names at the start of the Bind are in its first piece; the rest follows as it is. */
function startPartedBind(session: Session, piece: Buffer): void {
  const { portal, statement, tailStart } = decodeBind(piece, 5, piece.length);
  const prepared = session.statements.find(statement);
  if (prepared === null) throw tooLong(session, piece);
  const renamed = bind(portal, prepared.serverName, piece.subarray(tailStart));
  renamed.writeInt32BE(piece.readInt32BE(1) + renamed.length - piece.length, 1);
  const undo = portal === '' && session.statements.unnamedPortal === null ? session.statements.dropPortal : null;
  if (portal === '') session.statements.unnamedPortal = prepared;
  else session.statements.portals.set(portal, prepared);
  const entry: Entry = { kind: 'bind', bytes: renamed, swallow: false, prepared, name: statement, tracked: null, undo };
  if (session.phase === 'open') {
    session.partOpen = true;
    sendEntry(session, entry);
    return;
  }
  const unit = session.phase === 'gathering' ? (session.unit as Unit) : new Unit();
  unit.widen(prepared.classification);
  unit.add(entry);
  startPartedUnit(session, unit);
}

function tooLong(session: Session, piece: Buffer): ClientError {
  return new ClientError({
    sqlState: '54000',
    severity: 'FATAL',
    message: `message of ${piece.readInt32BE(1)} bytes is longer than the proxy takes`,
    hint: `Raise proxy.maxBufferBytes (now ${session.context.config.maxBufferBytes}).`,
  });
}

const CLIENT_TYPES = gatherLimits('QPBDECSHXFcf', 1, 'd');
const limitsOf = new Map<number, GatherLimits>();

/** How long the messages of a client may be to be taken whole. COPY data always comes as it is. */
export function clientLimits(maxBufferBytes: number): GatherLimits {
  let limits = limitsOf.get(maxBufferBytes);
  if (limits === undefined) {
    limits = CLIENT_TYPES.map((limit) => (limit > 0 ? maxBufferBytes : limit));
    limitsOf.set(maxBufferBytes, limits);
  }
  return limits;
}
