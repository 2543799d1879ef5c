import type { Socket } from 'node:net';
import type { ScopedConfig } from '../../common/config/scoped.ts';
import type { ClientError } from '../../common/errors.ts';
import type { AcceptedClient } from '../auth/types.ts';
import type { LeaderPass } from '../cluster/types.ts';
import type { Backend, BackendLoss, BackendUser } from '../pool/backend.ts';
import type { Pool } from '../pool/pool.ts';
import type { ConsistencyFloor, ConsistencyLevel } from '../routing/choose-node.ts';
import type { Recovery } from '../routing/retry.ts';
import { SessionSettings } from '../routing/settings.ts';
import type { SettingsImage } from '../routing/settings-image.ts';
import { IDLE, readyStatus, type TransactionState } from '../routing/transaction.ts';
import type { Classification, PinReason } from '../sql/types.ts';
import { FrameReader, type FrameSink } from '../wire/frames.ts';
import { onAnswer, onLost } from './answers.ts';
import { cancelUnit } from './cancel.ts';
import type { SessionContext } from './context.ts';
import { asClientError, cancelled, withSeverity } from './errors.ts';
import { type Entry, Exchange, type ExchangeHost } from './exchange.ts';
import { clientLimits, onInput, onInputPart } from './input.ts';
import { MAX_WAITING_BYTES } from './limits.ts';
import { ClientOutput } from './output.ts';
import { Outcome } from './outcome.ts';
import { onStatementDone } from './tracking.ts';
import { abandon } from './release.ts';
import { startUnit } from './start.ts';
import { ToldParameters } from './told-parameters.ts';
import { ClientStatements, type Unit, type UnitScope, unitScope } from './unit.ts';
import { errorResponse } from '../wire/encode.ts';

/**
 * What the session does with its client's input.
 *
 *     idle ──P B D E C──▶ gathering ──Sync──┐
 *       │                     │ Flush, full  │
 *       └──Query──▶ placing ◀─┴──────────────┘      (no server yet: the input waits)
 *                      │
 *                      ├──complete──▶ busy ──ready──▶ idle      (the input waits)
 *                      └──not yet───▶ open ──Sync──▶ busy       (the input goes on to the server)
 *     busy, open ──CopyInResponse──▶ copy-in ──CopyDone, CopyFail──▶ busy (Query) or open
 *     open ──server lost──▶ discarding ──Sync──▶ idle
 */
export type Phase = 'idle' | 'gathering' | 'placing' | 'busy' | 'open' | 'copy-in' | 'discarding' | 'closed';

/**
 * One client. The files of this folder work on it as one state machine: `input` takes the client's messages, `start` and
 * `placement` find a server for a unit and send it, `answers` and `tracking` take what comes back, `recovery`
 * decides about losses, `release` gives servers back. All events arrive on one thread, so each runs to its end.
 */
export class Session implements BackendUser, FrameSink, ExchangeHost {
  readonly context: SessionContext;
  readonly client: AcceptedClient;
  readonly socket: Socket;
  readonly processId: number;
  readonly secretKey: Buffer;
  readonly startedAt = new Date();
  readonly reader: FrameReader;
  readonly out: ClientOutput;
  readonly exchange: Exchange;
  readonly statements = new ClientStatements();
  readonly settings: SessionSettings;
  readonly scope: UnitScope;
  readonly told = new ToldParameters();
  readonly outcome = new Outcome();
  readonly pins = new Set<PinReason>();
  readonly floor: { -readonly [K in keyof ConsistencyFloor]: ConsistencyFloor[K] } = {
    committedAtMs: -Infinity,
    lastReadAtMs: -Infinity,
    lastNode: null,
  };
  level: ConsistencyLevel;
  phase: Phase = 'idle';
  transaction: TransactionState = IDLE;
  /** The deferred state that the unit in flight made open, while it can still be run again elsewhere. */
  opening: TransactionState | null = null;
  /** Not yet told to the client: its transaction was lost between two statements. */
  doom: ClientError | null = null;
  backend: Backend | null = null;
  pool: Pool | null = null;
  pass: LeaderPass | null = null;
  unit: Unit | null = null;
  /** Of the unit in flight: bytes of its answer reached the client's socket; an error was passed on. */
  passedOn = false;
  errored = false;
  /** Its answer is kept back: nothing but preliminaries came so far. */
  holding = false;
  /** Its answer is dropped up to ReadyForQuery, and then this is done. */
  recovery: Recovery | null = null;
  /** The same, and nothing more is done: the client was told what to think of it. */
  muted = false;
  /** The open transaction may have written. */
  wrote = false;
  /** A RESET ran: the server's defaults are not this session's, who has its start-up parameters. */
  resets = false;
  /** The open transaction has changed the schema, which others see when it ends. */
  changedSchema = false;
  /** Entries that the error just seen makes void. */
  readonly skipped: Entry[] = [];
  /** While the session waits for a connection or a leader: ends that. */
  waiting: AbortController | null = null;
  waitingFor: 'connection' | 'leader' | null = null;
  waitingSinceMs = 0;
  requestAt: Date | null = null;
  /** End it at the next moment without a transaction. */
  draining: ClientError | null = null;
  /** A message of the client is being passed on in parts. */
  partOpen = false;
  readonly #onClosed: (session: Session) => void;

  constructor(
    context: SessionContext,
    client: AcceptedClient,
    identity: { readonly processId: number; readonly secretKey: Buffer },
    startup: SettingsImage,
    level: ConsistencyLevel,
    onClosed: (session: Session) => void,
  ) {
    this.context = context;
    this.client = client;
    this.socket = client.socket;
    this.processId = identity.processId;
    this.secretKey = identity.secretKey;
    this.level = level;
    this.#onClosed = onClosed;
    this.settings = new SessionSettings(startup);
    this.out = new ClientOutput(client.socket);
    this.exchange = new Exchange(this);
    this.reader = new FrameReader(this, clientLimits(context.config.maxBufferBytes));
    this.scope = unitScope(context, client.database, (text) => this.classify(text));
  }

  /** Takes the socket over. Before, parameters and ReadyForQuery must have been sent. */
  start(): void {
    const socket = this.socket;
    socket.on('data', (chunk: Buffer) => this.#onData(chunk));
    socket.on('drain', () => this.#onDrain());
    socket.on('error', () => this.close());
    socket.on('end', () => this.close());
    socket.on('close', () => this.close());
    socket.resume();
  }

  /** What the configuration says of this user in this database. */
  get scoped(): ScopedConfig {
    return this.context.live.scopeOf(this.client.database, this.client.user);
  }

  classify(text: Buffer): Classification {
    const { context } = this;
    return context.classifier.classify(text, context.catalogOf(this.client.database), {
      standardConformingStrings: this.settings.valueOf('standard_conforming_strings') !== 'off',
      systemCatalogs: context.config.routing.systemCatalogs,
    });
  }

  #onData(chunk: Buffer): void {
    try {
      this.reader.push(chunk);
    } catch (error) {
      this.terminate(asClientError(error));
      return;
    }
    this.#afterInput();
  }

  #afterInput(): void {
    if (this.exchange.done && this.phase !== 'placing') this.flush();
    if (this.backend?.flushRelayed() === false) this.socket.pause();
    if (this.reader.waitingBytes > MAX_WAITING_BYTES) this.socket.pause();
  }

  onMessage(type: number, buffer: Buffer, start: number, end: number): boolean {
    onInput(this, type, buffer, start, end);
    return this.reads;
  }

  onPart(type: number, buffer: Buffer, start: number, end: number, first: boolean, last: boolean): boolean {
    onInputPart(this, type, buffer, start, end, first, last);
    return this.reads;
  }

  get reads(): boolean {
    const { phase } = this;
    return phase !== 'placing' && phase !== 'busy' && phase !== 'closed' && (this.partOpen || !this.exchange.full);
  }

  /** The phase changed to one that reads: goes on with what waited. */
  readOn(): void {
    // A client that does not take its answers gets no more of them: 'drain' goes on.
    if (!this.reads || this.socket.writableNeedDrain) return;
    try {
      this.reader.resume();
    } catch (error) {
      this.terminate(asClientError(error));
      return;
    }
    if (this.phase === 'closed') return;
    if (this.reader.waitingBytes <= MAX_WAITING_BYTES && this.backend?.needsDrain !== true) this.socket.resume();
    this.#afterInput();
  }

  #onDrain(): void {
    this.backend?.resume();
    if (this.reads) this.readOn();
    else if (this.reader.waitingBytes <= MAX_WAITING_BYTES && this.backend?.needsDrain !== true) this.socket.resume();
  }

  /** Writes what was collected for the client; stops whoever produces it when the client does not keep up. */
  flush(): void {
    if (this.out.pendingBytes === 0) return;
    this.passedOn = true;
    if (this.out.flush()) return;
    this.backend?.pause();
    this.socket.pause();
  }

  onBackendMessage(type: number, buffer: Buffer, start: number, end: number): void {
    onAnswer(this, type, buffer, start, end);
  }

  onBackendPart(type: number, buffer: Buffer, start: number, end: number, first: boolean): void {
    // Only rows, COPY data and descriptions come in parts: none of them ends anything but a Describe.
    if (first) onAnswer(this, type, buffer, start, end);
    else if (this.recovery === null && !this.muted && this.phase !== 'closed') this.out.relay(buffer, start, end);
  }

  onBackendChunkEnd(): void {
    if (this.holding && this.out.pendingBytes < MAX_WAITING_BYTES) return;
    this.flush();
    if (this.reads) this.readOn(); // COPY data, or the Sync after an error, may be here already
  }

  onBackendDrain(): void {
    if (this.reader.waitingBytes <= MAX_WAITING_BYTES) this.socket.resume();
  }

  onBackendLost(loss: BackendLoss): void {
    onLost(this, loss);
  }

  onStatementDone(entry: Entry, index: number, buffer: Buffer, start: number, end: number): void {
    if (entry.swallow) return;
    this.outcome.completed += 1;
    if (entry.tracked !== null) onStatementDone(this, entry, index, buffer, start, end);
  }

  onSkipped(entry: Entry): void {
    this.skipped.push(entry);
  }

  onCopyIn(): void {
    this.phase = 'copy-in';
    this.holding = false;
  }

  readonly startAnew = (unit: Unit): void => startUnit(this, unit);

  onLocal(entry: Entry): void {
    if (this.recovery === null && !this.muted) this.out.send(entry.bytes);
  }

  /** Tells the client of parameters that are not what it was last told. */
  tellParameters(backend: Backend): void {
    this.told.tell(backend, this.out);
  }

  /** A CancelRequest with this session's key came. */
  cancel(): void {
    if (this.waiting !== null) this.waiting.abort(cancelled());
    else cancelUnit(this);
  }

  /** Ends the session as soon as it has no open transaction. */
  drain(error: ClientError): void {
    this.draining = error;
    if (this.phase === 'idle' && readyStatus(this.transaction) === 'I') this.terminate(error);
  }

  terminate(error: ClientError): void {
    if (this.phase === 'closed') return;
    this.context.metrics.clientError(error.sqlState);
    const fatal = withSeverity(error, 'FATAL');
    // Inside a message of the server the client cannot be told anything.
    const inside = this.backend?.insideMessage === true && this.passedOn;
    if (!inside) {
      if (!this.passedOn) this.out.discard();
      this.out.send(errorResponse(fatal));
      this.out.flush();
    }
    this.close();
  }

  close(): void {
    if (this.phase === 'closed') return;
    abandon(this);
    this.#onClosed(this);
  }
}
