import { LeaseholdError } from '../../common/errors.ts';

/** A program of the PostgreSQL installation ended with a failure. `output` is the end of what it wrote to stderr. */
export class PostgresProgramFailed extends LeaseholdError {
  readonly program: string;
  readonly output: string;

  constructor(program: string, reason: string, output: string) {
    super('POSTGRES_PROGRAM', `${program} ${reason}${output === '' ? '' : `: ${output}`}`);
    this.program = program;
    this.output = output;
  }
}

/** The server ended before it accepted a connection. The message carries its own FATAL and PANIC lines. */
export class PostgresStartFailed extends LeaseholdError {
  constructor(message: string, cause?: unknown) {
    super('POSTGRES_START', message, cause);
  }
}

/** The operation needs a running server, and there is none (or it stopped answering meanwhile). */
export class PostgresNotRunning extends LeaseholdError {
  constructor(message: string, cause?: unknown) {
    super('POSTGRES_NOT_RUNNING', message, cause);
  }
}

/** A query of the agent did not end in its time. The connection was closed; whether it had an effect is unknown. */
export class PostgresTimeout extends LeaseholdError {
  constructor(message: string) {
    super('POSTGRES_TIMEOUT', message);
  }
}

/** pg_rewind could not bring the directory onto the peer's timeline. If it had begun to write, it is marked unfinished: clone it anew. */
export class RewindFailed extends LeaseholdError {
  constructor(message: string, cause?: unknown) {
    super('REWIND_FAILED', message, cause);
  }
}

/** A setting that safety rests on is not in force after a reload, although its file says so. */
export class PostgresSettingOverridden extends LeaseholdError {
  constructor(setting: string, wanted: string, found: string) {
    super(
      'POSTGRES_SETTING',
      `${setting} is '${found}' where the agent set '${wanted}': remove it from ALTER SYSTEM and from the role's and database's settings`,
    );
  }
}

/** The machine or the configuration lacks what PostgreSQL needs; the message says what and what to do. */
export class PostgresEnvironmentError extends LeaseholdError {
  constructor(message: string, cause?: unknown) {
    super('POSTGRES_ENVIRONMENT', message, cause);
  }
}
