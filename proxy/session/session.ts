import type { ClientError } from '../../common/errors.ts';
import type { AcceptedClient } from '../auth/types.ts';
import type { Backend, BackendLoss, BackendUser } from '../pool/backend.ts';
import type { OwnValues } from '../routing/own-settings.ts';
import type { SettingsImage } from '../routing/settings-image.ts';
import { onChunks } from '../net/direct-socket.ts';
import { readyStatus } from '../routing/transaction.ts';
import { errorResponse } from '../wire/encode.ts';
import { FrameReader, type FrameSink } from '../wire/frames.ts';
import { onAnswer, onLost } from './answers.ts';
import { cancelSession } from './cancel.ts';
import type { SessionContext } from './context.ts';
import { asClientError, withSeverity } from './errors.ts';
import { type Entry, Exchange, type ExchangeHost } from './exchange.ts';
import { onInput } from './input.ts';
import { clientLimits, onInputPart } from './input-parts.ts';
import { MAX_WAITING_BYTES } from './limits.ts';
import { abandon } from './release.ts';
import { SessionState } from './session-state.ts';
import { startUnit } from './start.ts';
import { noteImage, onStatementDone } from './tracking.ts';
import type { Unit } from './unit.ts';

/**
 * One client. The files of this folder work on it as one state machine: `input` takes the client's messages, `start` and
 * `placement` find a server for a unit and send it, `answers` and `tracking` take what comes back, `recovery`
 * decides about losses, `release` gives servers back. All events arrive on one thread, so each runs to its end.
 */
export class Session extends SessionState implements BackendUser, FrameSink, ExchangeHost {
  readonly reader: FrameReader;
  readonly exchange: Exchange;
  readonly #onClosed: (session: Session) => void;

  constructor(
    context: SessionContext,
    client: AcceptedClient,
    identity: { readonly processId: number; readonly secretKey: Buffer },
    startup: SettingsImage,
    own: OwnValues,
    onClosed: (session: Session) => void,
  ) {
    super(context, client, identity, startup, own);
    this.#onClosed = onClosed;
    this.exchange = new Exchange(this);
    this.reader = new FrameReader(this, clientLimits(context.config.maxBufferBytes));
  }

  /** Takes the socket over. Before, parameters and ReadyForQuery must have been sent. */
  start(): void {
    const socket = this.socket;
    onChunks(socket, (chunk) => this.#onData(chunk));
    socket.on('drain', () => this.#onDrain());
    socket.on('error', () => this.close());
    socket.on('end', () => this.close());
    socket.on('close', () => this.close());
    socket.resume();
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
    const { phase, exchange } = this;
    if (phase === 'placing' || phase === 'busy' || phase === 'closed') return false;
    if (this.awaitsCopy && phase === 'open' && !exchange.done && !exchange.skipping) return false;
    return this.partOpen || !exchange.full;
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
    if (entry.tracked === null) return;
    const before = this.settings.image;
    onStatementDone(this, entry, index, buffer, start, end);
    noteImage(this, before);
  }

  onSkipped(entry: Entry): void {
    this.skipped.push(entry);
  }

  onCopyIn(): void {
    if (this.phase === 'closed') {
      this.backend?.lose('its client has gone before its COPY began'); // as with PostgreSQL itself, it is rolled back
      return;
    }
    this.phase = 'copy-in';
    this.awaitsCopy = false;
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
  cancel(done: () => void): void {
    cancelSession(this, done);
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
