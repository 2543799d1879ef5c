import type { Isolation, StatementDetail } from '../sql/types.ts';
import { dateStyleSetting } from './date-style.ts';
import { isOwnSetting, NO_OWN, type OwnValues, withOwn } from './own-settings.ts';
import { IDENTITY_SETTINGS, NO_SETTINGS, type Setting, type SettingsImage, without } from './settings-image.ts';
import type { TransactionDefaults } from './transaction.ts';

/** Bounds of one session's record; beyond them the session must be pinned (`overflowed`). */
export const MAX_SETTINGS = 200;
export const MAX_SETTINGS_BYTES = 64 * 1024;
const MAX_SAVEPOINTS = 1000;

/** SET LOCAL of the open transaction; null: set back to the default. */
type LocalImage = ReadonlyMap<string, Setting | null>;

const NO_LOCALS: LocalImage = new Map();

interface Level {
  /** Null for the transaction itself. */
  readonly savepoint: string | null;
  readonly session: SettingsImage;
  readonly local: LocalImage;
  readonly own: OwnValues;
  readonly ownNow: OwnValues;
}

/**
 * A session's record of settings, undone by ROLLBACK and ROLLBACK TO exactly as PostgreSQL undoes them
 * (src/backend/utils/misc/guc.c, AtEOXact_GUC). It has no I/O; feed it each statement *after it succeeded*, and
 * `endTransaction` for a transaction that ended otherwise (a failed COMMIT, a lost backend).
 */
export class SessionSettings {
  #defaults: SettingsImage;
  #session: SettingsImage;
  #local: LocalImage = NO_LOCALS;
  #ownDefaults: OwnValues;
  /** As it is after the open transaction, if it commits. */
  #own: OwnValues;
  /** With SET LOCAL. */
  #ownNow: OwnValues;
  /** Empty outside a transaction. */
  #levels: Level[] = [];
  #overflowed = false;

  /** `startup`, `own`: what the client asked for when it connected; RESET returns to it. See `startupImage`. */
  constructor(startup: SettingsImage = NO_SETTINGS, own: OwnValues = NO_OWN) {
    this.#defaults = startup;
    this.#session = startup;
    this.#ownDefaults = own;
    this.#own = own;
    this.#ownNow = own;
  }

  /** The proxy's own settings as they hold now. No server knows of them. */
  get own(): OwnValues {
    return this.#ownNow;
  }

  /** What holds after the open transaction, if it commits; outside of one, what a backend must have. */
  get image(): SettingsImage {
    return this.#session;
  }

  /** The start-up value of a setting that holds for the session, or will when a SET LOCAL ends; undefined: it holds another one, or has none. */
  startupValueOf(name: string): string | undefined {
    const setting = this.#session.get(name);
    return setting === this.#defaults.get(name) ? setting?.value : undefined;
  }

  /** The value that SET LOCAL gave in the open transaction. */
  localValueOf(name: string): string | undefined {
    return this.#local.get(name)?.value;
  }

  /** What a backend must have before a unit outside any transaction; in one, what it had when that began. */
  get outsideImage(): SettingsImage {
    return this.#levels[0]?.session ?? this.#session;
  }

  /** More was set than the record may hold: the session can no longer move between backends. */
  get overflowed(): boolean {
    return this.#overflowed;
  }

  /** The value that holds now, SET LOCAL included; undefined where the session never set it. */
  valueOf(name: string): string | undefined {
    return (this.#local.has(name) ? this.#local.get(name) : this.#session.get(name))?.value;
  }

  get transactionDefaults(): TransactionDefaults {
    const readOnly = this.valueOf('default_transaction_read_only');
    const isolation = this.valueOf('default_transaction_isolation');
    return {
      readOnly: readOnly !== undefined && TRUE_TEXT.test(readOnly),
      isolation:
        isolation === undefined ? null : (ISOLATIONS.find((level) => level === isolation.toLowerCase()) ?? null),
    };
  }

  /**
   * A statement that has succeeded. Kinds that have nothing to do with settings or transactions do nothing. A
   * COMMIT of a failed transaction is a rollback: the server's tag says ROLLBACK, then call `endTransaction(false)`.
   */
  apply(statement: StatementDetail): void {
    if (statement.kind === 'set') {
      const { name, value, sql, local } = statement;
      if (isOwnSetting(name)) this.setOwn(name, value, local);
      else if (value === null) this.#reset(name, local);
      else this.#set(name, name === 'datestyle' ? dateStyleSetting(this.valueOf(name), value) : { value, sql }, local);
    } else if (statement.kind === 'set-transaction') {
      if (statement.session) this.#setCharacteristics(statement);
    } else if (statement.kind === 'reset-all') {
      this.#resetAll();
    } else if (statement.kind === 'discard') {
      if (statement.what === 'all') this.#discardAll();
    } else {
      this.#applyTransaction(statement);
    }
  }

  #applyTransaction(statement: StatementDetail): void {
    if (statement.kind === 'begin') {
      this.beginTransaction();
    } else if (statement.kind === 'commit' || statement.kind === 'rollback') {
      this.endTransaction(statement.kind === 'commit');
      if (statement.chain) this.beginTransaction();
    } else if (statement.kind === 'prepare-transaction') {
      this.endTransaction(true);
    } else if (statement.kind === 'savepoint') {
      this.#savepoint(statement.name);
    } else if (statement.kind === 'release') {
      this.#levels.length = this.#levelOf(statement.name) ?? this.#levels.length;
    } else if (statement.kind === 'rollback-to') {
      this.#rollbackTo(statement.name);
    }
  }

  #savepoint(name: string): void {
    if (this.#levels.length === 0) return;
    if (this.#levels.length > MAX_SAVEPOINTS) this.#overflowed = true;
    else this.#pushLevel(name);
  }

  #pushLevel(savepoint: string | null): void {
    const [session, local, own, ownNow] = [this.#session, this.#local, this.#own, this.#ownNow];
    this.#levels.push({ savepoint, session, local, own, ownNow });
  }

  beginTransaction(): void {
    if (this.#levels.length > 0) return; // BEGIN inside a transaction is a warning
    this.#pushLevel(null);
  }

  endTransaction(committed: boolean): void {
    const outermost = this.#levels[0];
    if (outermost === undefined) return;
    if (!committed) this.#session = outermost.session;
    this.#local = NO_LOCALS;
    this.#levels = [];
    this.#holdOwn(committed ? this.#own : outermost.own);
  }

  /**
   * The unit that opened the transaction is run again from its beginning. What was set of the proxy's own before a server
   * had seen the transaction stays.
   */
  restartTransaction(): void {
    const outermost = this.#levels[0];
    if (outermost === undefined) return;
    this.#session = outermost.session;
    this.#local = NO_LOCALS;
    this.#levels.length = 1;
  }

  #rollbackTo(name: string): void {
    const index = this.#levelOf(name);
    const level = index === undefined ? undefined : this.#levels[index];
    if (index === undefined || level === undefined) return;
    this.#session = level.session;
    this.#local = level.local;
    this.#holdOwn(level.own, level.ownNow);
    this.#levels.length = index + 1; // the savepoint itself stays
  }

  /** The innermost one of that name; a name may be used again. */
  #levelOf(name: string): number | undefined {
    for (let index = this.#levels.length - 1; index > 0; index -= 1) {
      if (this.#levels[index]?.savepoint === name) return index;
    }
    return undefined;
  }

  #set(name: string, setting: Setting, local: boolean): void {
    if (local) {
      if (this.#levels.length > 0) this.#local = this.#with(this.#local, name, setting);
      return;
    }
    this.#session = this.#with(this.#session, name, setting);
    this.#forgetShadows(name);
  }

  #reset(name: string, local: boolean): void {
    const initial = this.#defaults.get(name);
    if (local) {
      if (this.#levels.length === 0) return;
      this.#local = this.#with(this.#local, name, initial ?? null);
      return;
    }
    this.#session =
      initial === undefined ? without(this.#session, name, NO_SETTINGS) : this.#with(this.#session, name, initial);
    this.#forgetShadows(name);
  }

  #forgetShadows(name: string): void {
    this.#local = without(this.#local, name, NO_LOCALS);
    // Changing the session's user ends the role that was set (src/backend/utils/init/miscinit.c).
    if (name === 'session_authorization') this.#session = without(this.#session, 'role', NO_SETTINGS);
  }

  #resetAll(): void {
    // RESET ALL leaves the role and the session's user alone (GUC_NO_RESET_ALL).
    let image = this.#defaults;
    for (const name of IDENTITY_SETTINGS) {
      const setting = this.#session.get(name);
      if (setting !== undefined) image = this.#with(image, name, setting);
    }
    this.#session = image;
    this.#local = NO_LOCALS;
    this.#holdOwn(this.#ownDefaults);
  }

  /** It resets the identity too. It may not run in a transaction block, and commits at once: what comes behind it is another transaction. */
  #discardAll(): void {
    this.#session = this.#defaults;
    this.#local = NO_LOCALS;
    const inTransaction = this.#levels.length > 0;
    this.#levels = [];
    if (inTransaction) this.beginTransaction();
    this.#overflowed = false;
    this.#holdOwn(this.#ownDefaults);
  }

  /** One of the proxy's own settings; `value` null: back to the start-up's. Throws ClientError 22023, 42704, 55P02. */
  setOwn(name: string, value: string | null, local: boolean): void {
    const now = withOwn(this.#ownNow, name, value, this.#ownDefaults);
    if (!local) this.#holdOwn(withOwn(this.#own, name, value, this.#ownDefaults), now);
    else if (this.#levels.length > 0) this.#holdOwn(this.#own, now);
  }

  /** Defaults that are known only after the log-in; what the client asked for is stronger. Before the first statement. */
  adoptDefaults(values: OwnValues): void {
    const { consistency, maxStalenessMs, causalWaitMs } = this.#ownDefaults;
    this.#ownDefaults = {
      consistency: consistency ?? values.consistency,
      maxStalenessMs: maxStalenessMs ?? values.maxStalenessMs,
      causalWaitMs: causalWaitMs ?? values.causalWaitMs,
    };
    this.#holdOwn(this.#ownDefaults);
  }

  /** Throws as `setOwn` would. */
  checkOwn(name: string, value: string | null): void {
    withOwn(this.#ownNow, name, value, this.#ownDefaults);
  }

  #holdOwn(own: OwnValues, now: OwnValues = own): void {
    this.#own = own;
    this.#ownNow = now;
  }

  #setCharacteristics(statement: StatementDetail & { readonly kind: 'set-transaction' }): void {
    const { readOnly, isolation, deferrable } = statement;
    if (isolation !== null) this.#setDefault('default_transaction_isolation', isolation);
    if (readOnly !== null) this.#setDefault('default_transaction_read_only', readOnly ? 'on' : 'off');
    if (deferrable !== null) this.#setDefault('default_transaction_deferrable', deferrable ? 'on' : 'off');
  }

  #setDefault(name: string, value: string): void {
    this.#set(name, { value, sql: `SET ${name} TO '${value}'` }, false);
  }

  /** `image` with one more entry, or unchanged when that would pass the bounds. */
  #with<T extends Setting | null>(image: ReadonlyMap<string, T>, name: string, setting: T): ReadonlyMap<string, T> {
    const next = new Map(image);
    next.delete(name); // to the end: the order of setting is the order of setting again
    next.set(name, setting);
    let bytes = 0;
    for (const each of next.values()) bytes += each?.sql.length ?? 0;
    if (next.size > MAX_SETTINGS || bytes > MAX_SETTINGS_BYTES) {
      this.#overflowed = true;
      return image;
    }
    return next;
  }
}

const TRUE_TEXT = /^(?:on|1|t|tr|tru|true|y|ye|yes)$/i;
const ISOLATIONS: readonly Isolation[] = ['read uncommitted', 'read committed', 'repeatable read', 'serializable'];
