import { ClientError, LeaseholdError } from '../../common/errors.ts';
import { decodeErrorFields } from '../wire/decode.ts';
import { query } from '../wire/encode.ts';
import type { Backend, BackendLoss, BackendUser } from './backend.ts';

/** One column's text per row and column; null for NULL. */
export type InternalRows = readonly (readonly (string | null)[])[];

const DEFAULT_MAX_ROWS = 1_000;
/** A row of the proxy's own queries is not longer. */
const MAX_ROW_BYTES = 16 * 1024 * 1024;

/**
 * Runs SQL of the proxy's own on a backend that is idle (no unit in flight), over the simple protocol. The backend's
 * user is put back afterwards. Rejects with the server's error as ClientError (the connection stays usable), or with
 * BACKEND_LOST / BACKEND_TIMEOUT, after which the backend is closed and its user was *not* told.
 */
export function runInternal(
  backend: Backend,
  sql: string,
  timeoutMs: number,
  maxRows = DEFAULT_MAX_ROWS,
): Promise<InternalRows> {
  return exchangeInternal(backend, query(sql), timeoutMs, maxRows);
}

/** The same for messages of the proxy's own that one ReadyForQuery answers. */
export function exchangeInternal(
  backend: Backend,
  messages: Buffer,
  timeoutMs: number,
  maxRows = DEFAULT_MAX_ROWS,
  onDescription: ((buffer: Buffer, start: number, end: number) => void) | null = null,
): Promise<InternalRows> {
  const user = backend.user;
  return new Promise((resolve, reject) => {
    if (backend.closed) {
      reject(new LeaseholdError('BACKEND_LOST', 'the connection is closed'));
      return;
    }
    const finish = (settle: () => void): void => {
      clearTimeout(timer);
      if (!backend.closed && user !== null) backend.attach(user);
      settle();
    };
    const timer = setTimeout(() => {
      backend.destroy();
      finish(() => reject(new LeaseholdError('BACKEND_TIMEOUT', `no answer from ${backend.place.node}`)));
    }, timeoutMs);
    timer.unref(); // a pool that closes says nothing
    backend.attach(
      new InternalUser(
        (rows) => finish(() => resolve(rows)),
        (error) => finish(() => reject(error)),
        maxRows,
        onDescription,
        user,
      ),
    );
    backend.resume();
    backend.write(messages);
  });
}

class InternalUser implements BackendUser {
  readonly #resolve: (rows: InternalRows) => void;
  readonly #reject: (error: Error) => void;
  readonly #rows: (string | null)[][] = [];
  readonly #maxRows: number;
  /** A row that did not fit one chunk. */
  #parts: Buffer[] = [];
  #partBytes = 0;
  #error: ClientError | null = null;
  /** Who has the backend: what comes unasked meanwhile is for it. */
  readonly #behind: BackendUser | null;
  #passedOn = false;

  readonly #onDescription: ((buffer: Buffer, start: number, end: number) => void) | null;

  constructor(
    resolve: (rows: InternalRows) => void,
    reject: (error: Error) => void,
    maxRows: number,
    onDescription: ((buffer: Buffer, start: number, end: number) => void) | null,
    behind: BackendUser | null,
  ) {
    this.#onDescription = onDescription;
    this.#resolve = resolve;
    this.#reject = reject;
    this.#maxRows = maxRows;
    this.#behind = behind;
  }

  onBackendMessage(type: number, buffer: Buffer, start: number, end: number): void {
    switch (type) {
      case 0x44: // DataRow
        if (this.#rows.length < this.#maxRows) this.#rows.push(textRow(buffer, start + 5, end));
        return;
      case 0x54: // RowDescription
      case 0x6e: // NoData
        this.#onDescription?.(buffer, start, end);
        return;
      case 0x45: {
        // ErrorResponse
        const fields = decodeErrorFields(buffer, start + 5, end);
        const { sqlState, message, detail, hint } = fields;
        this.#error ??= new ClientError({
          sqlState,
          message,
          ...(detail === '' ? {} : { detail }),
          ...(hint === '' ? {} : { hint }),
        });
        return;
      }
      case 0x41: // NotificationResponse
        this.#behind?.onBackendMessage(type, buffer, start, end);
        this.#passedOn = true;
        return;
      case 0x5a: // ReadyForQuery
        if (this.#error === null) this.#resolve(this.#rows);
        else this.#reject(this.#error);
        return;
      default:
    }
  }

  onBackendPart(type: number, buffer: Buffer, start: number, end: number, _first: boolean, last: boolean): void {
    if (type === 0x54 && _first) this.#onDescription?.(buffer, start, end); // its first part
    if (type !== 0x44) return;
    this.#partBytes += end - start;
    if (this.#partBytes <= MAX_ROW_BYTES) this.#parts.push(buffer.subarray(start, end));
    if (!last) return;
    const row = Buffer.concat(this.#parts);
    this.#parts = [];
    this.#partBytes = 0;
    this.onBackendMessage(type, row, 0, row.length);
  }

  onBackendChunkEnd(): void {
    if (this.#passedOn) this.#behind?.onBackendChunkEnd();
    this.#passedOn = false;
  }

  onBackendDrain(): void {}

  onBackendLost(loss: BackendLoss): void {
    this.#reject(new LeaseholdError('BACKEND_LOST', loss.reason));
  }
}

function textRow(buffer: Buffer, start: number, end: number): (string | null)[] {
  const row: (string | null)[] = [];
  let at = start + 2;
  const columns = buffer.readInt16BE(start);
  for (let i = 0; i < columns && at + 4 <= end; i++) {
    const size = buffer.readInt32BE(at);
    at += 4;
    row.push(size < 0 ? null : buffer.toString('utf8', at, at + size));
    if (size > 0) at += size;
  }
  return row;
}
