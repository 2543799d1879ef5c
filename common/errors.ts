/**
 * The errors that cross a module's border. One class per cause; `code` is stable and is what programs match on
 * (never the message text). Those that a client sees carry PostgreSQL's SQLSTATE.
 */
export class LeaseholdError extends Error {
  readonly code: string;

  constructor(code: string, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = new.target.name;
    this.code = code;
  }
}

/** A state that the program's own logic excludes. It is never caught: the process stops. */
export class InvariantError extends LeaseholdError {
  constructor(message: string) {
    super('INVARIANT', message);
  }
}

/** One fault of a configuration, with the place it came from (`file.yaml`, `LEASEHOLD_TTL_MS`, `--ttl`, `default`). */
export interface ConfigFault {
  readonly path: string;
  readonly source: string;
  readonly message: string;
}

/** Every fault of a configuration at once. Values are never included: they may be secrets. */
export class ConfigError extends LeaseholdError {
  readonly faults: readonly ConfigFault[];

  constructor(faults: readonly ConfigFault[]) {
    super('CONFIG', faults.map((f) => `${f.path} (${f.source}): ${f.message}`).join('\n'));
    this.faults = faults;
  }
}

/** The store could not be asked, or did not answer in time. `outcome` says whether the request may have been carried out. */
export class StoreError extends LeaseholdError {
  readonly outcome: 'not-applied' | 'unknown';

  constructor(outcome: 'not-applied' | 'unknown', message: string, cause?: unknown) {
    super('STORE', message, cause);
    this.outcome = outcome;
  }
}

export type Severity = 'ERROR' | 'FATAL';

export interface ClientErrorFields {
  /** Five characters, https://www.postgresql.org/docs/current/errcodes-appendix.html */
  readonly sqlState: string;
  readonly message: string;
  /** FATAL ends the session after the error was sent; ERROR leaves it usable. */
  readonly severity?: Severity;
  readonly detail?: string;
  readonly hint?: string;
  /** Where PostgreSQL's own source raises it, for drivers that know the error by that (fields F, L and R). */
  readonly source?: ErrorSource;
  /** True only where the statement provably did not run. */
  readonly safeToRetry?: boolean;
  readonly cause?: unknown;
}

export interface ErrorSource {
  readonly file: string;
  /** Another one in each version. */
  readonly line: number;
  readonly routine: string;
}

/** An error that a PostgreSQL client sees as an ErrorResponse. */
export class ClientError extends LeaseholdError {
  readonly sqlState: string;
  readonly severity: Severity;
  readonly detail: string | undefined;
  readonly hint: string | undefined;
  readonly source: ErrorSource | undefined;
  readonly safeToRetry: boolean;

  constructor(fields: ClientErrorFields) {
    super(`SQLSTATE_${fields.sqlState}`, fields.message, fields.cause);
    this.sqlState = fields.sqlState;
    this.severity = fields.severity ?? 'ERROR';
    this.detail = fields.detail;
    this.hint = fields.hint;
    this.source = fields.source;
    this.safeToRetry = fields.safeToRetry ?? false;
  }
}
