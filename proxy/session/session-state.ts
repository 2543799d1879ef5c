import type { Socket } from 'node:net';
import type { ScopedConfig } from '../../common/config/scoped.ts';
import type { ClientError } from '../../common/errors.ts';
import { Activity } from '../metrics/activity.ts';
import type { AcceptedClient } from '../auth/types.ts';
import type { LeaderPass } from '../cluster/types.ts';
import type { Backend } from '../pool/backend.ts';
import type { Pool } from '../pool/pool.ts';
import type { ConsistencyFloor, ConsistencyLevel } from '../routing/choose-node.ts';
import type { ShownFloor } from '../routing/settled.ts';
import type { OwnValues } from '../routing/own-settings.ts';
import type { Recovery } from '../routing/retry.ts';
import { SessionSettings } from '../routing/settings.ts';
import type { SettingsImage } from '../routing/settings-image.ts';
import { IDLE, type TransactionState } from '../routing/transaction.ts';
import type { Classification, PinReason } from '../sql/types.ts';
import type { SessionContext } from './context.ts';
import type { Entry } from './exchange.ts';
import { Home } from './home.ts';
import { ClientOutput } from './output.ts';
import type { Prepared } from './prepared.ts';
import { Outcome } from './outcome.ts';
import { environmentOf } from './sql-statements.ts';
import { ToldParameters } from './told-parameters.ts';
import { Watch } from './watch.ts';
import { ClientStatements, type Unit, type UnitScope, unitScope } from './unit.ts';

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

/** Why a transaction is lost. `told`: to a statement of it, the next ones hear that it has failed. */
export interface Doom {
  readonly error: ClientError;
  readonly told: boolean;
}

type Writable<T> = { -readonly [K in keyof T]: T[K] };

const FALSE_TEXT = /^(?:of|off|0|f|fa|fal|fals|false|n|no)$/i;

/** What the proxy keeps of one client; `Session` is what happens to it. */
export class SessionState {
  readonly context: SessionContext;
  readonly client: AcceptedClient;
  readonly socket: Socket;
  /** What the client was told. Under session pooling that of its first server connection, as PostgreSQL's own tools expect. */
  processId: number;
  secretKey: Buffer;
  readonly startedAt = new Date();
  readonly statements = new ClientStatements();
  readonly settings: SessionSettings;
  readonly scope: UnitScope;
  readonly out: ClientOutput;
  readonly told = new ToldParameters();
  readonly outcome = new Outcome();
  readonly activity: Activity;
  readonly pins = new Set<PinReason>();
  readonly watch = new Watch();
  readonly floor: Writable<ConsistencyFloor & ShownFloor> = {
    committedAtMs: -Infinity,
    lastReadAtMs: -Infinity,
    lastNode: null,
    shownAtMs: -Infinity,
    shownBy: null,
  };
  /** The node that served its last unit; for people. */
  servedBy: string | null = null;
  #scoped: ScopedConfig | null = null;
  #scopedBy: object | null = null;
  phase: Phase = 'idle';
  transaction: TransactionState = IDLE;
  /** The deferred state that the unit in flight made open, while it can still be run again elsewhere. */
  opening: TransactionState | null = null;
  /** Why the transaction was lost with its server: told to the first statement since then, and to COMMIT whoever was told before. */
  doom: Doom | null = null;
  /** Session pooling: where its leader connection waits while it is not in use. */
  readonly home: Home;
  backend: Backend | null = null;
  pool: Pool | null = null;
  /** The pool that it was served from last, whether it is open any more or not. */
  lastPool: Pool | null = null;
  pass: LeaderPass | null = null;
  unit: Unit | null = null;
  /** Of the unit in flight: bytes of its answer reached the client's socket; an error was passed on. */
  passedOn = false;
  errored = false;
  /** Its answer is kept back: nothing but preliminaries came so far. */
  holding = false;
  /** Its answer is dropped up to ReadyForQuery, and then this is done. */
  recovery: Recovery | null = null;
  /** The statement because of which it is: to be made anew. */
  stale: Prepared | null = null;
  /** The same, and nothing more is done: the client was told what to think of it. */
  muted = false;
  /** DO, CALL or something unread ran on the server that the session has: it may have settings that nobody has noted. */
  ranCode = false;
  /** The open transaction may have written. */
  wrote = false;
  /**
   * RESET ran for these, and the server's defaults are not this session's, who has its start-up parameters. `local`: by SET LOCAL … TO
   * DEFAULT. `for-good`: no rollback takes it back. At most as many as the settings of a session.
   */
  readonly resets = new Map<string, 'session' | 'local' | 'for-good'>();
  /** In the transaction that is open or just ended, something was done that may have made or ended a pin. */
  pinsMoved = false;
  /** The open transaction has changed the schema, which others see when it ends. */
  changedSchema = false;
  changedCalls = false;
  /** Entries that the error just seen makes void. */
  readonly skipped: Entry[] = [];
  /** While the session waits for a connection or a leader: ends that. */
  waiting: { abort(reason: Error): void } | null = null;
  waitingFor: 'connection' | 'leader' | null = null;
  waitingSinceMs = 0;
  requestAt: Date | null = null;
  /** End it at the next moment without a transaction. */
  draining: ClientError | null = null;
  /** A COPY FROM of the extended protocol was sent, and it is not known yet whether its data will be taken. */
  awaitsCopy = false;
  /** A message of the client is being passed on in parts. */
  partOpen = false;
  /**
   * COPY data of which the server has the beginning only. It waits for the rest, also when the COPY has failed meanwhile: whatever else it
   * got would be taken for that, and what follows be read from the wrong place.
   */
  copyPart = false;

  constructor(
    context: SessionContext,
    client: AcceptedClient,
    identity: { readonly processId: number; readonly secretKey: Buffer },
    startup: SettingsImage,
    own: OwnValues,
  ) {
    this.context = context;
    this.client = client;
    this.socket = client.socket;
    this.processId = identity.processId;
    this.secretKey = identity.secretKey;
    this.settings = new SessionSettings(startup, own);
    // What was acknowledged before the client connected: it may have been told so itself, on an earlier connection.
    this.floor.committedAtMs = context.databaseFloors.get(client.database) ?? -Infinity;
    this.home = new Home(this.scoped.poolMode === 'session');
    this.out = new ClientOutput(client.socket);
    const { user, database } = client;
    const application = (): string => this.told.get('application_name') ?? '';
    this.activity = new Activity(context.metrics.log, { user, database, application });
    this.scope = unitScope(
      context,
      client.database,
      (text) => this.classify(text),
      () => environmentOf(this.settings),
    );
  }

  /** What the configuration says of this user in this database. */
  get scoped(): ScopedConfig {
    const { live } = this.context;
    if (this.#scopedBy !== live.current) {
      this.#scopedBy = live.current;
      this.#scoped = live.scopeOf(this.client.database, this.client.user);
    }
    return this.#scoped as ScopedConfig;
  }

  /** Why it keeps a server connection beyond its transactions; for SHOW CLIENTS. */
  get keeps(): readonly (PinReason | 'session-pooling')[] {
    const { role } = this.backend?.place ?? {};
    const pooled = this.home.wanted && (this.home.parked !== null || role === 'leader');
    return pooled ? [...this.pins, 'session-pooling'] : [...this.pins];
  }

  get level(): ConsistencyLevel {
    return this.settings.own.consistency ?? this.scoped.consistency;
  }

  get maxStalenessMs(): number {
    return this.settings.own.maxStalenessMs ?? this.scoped.maxStalenessMs;
  }

  get causalWaitMs(): number {
    return this.settings.own.causalWaitMs ?? this.scoped.causalWaitMs;
  }

  get settleWaitMs(): number {
    return this.scoped.settleWaitMs;
  }

  /** By what was set, or by what the server said: a role's or a database's default is seen there only. */
  get #backslashEscapes(): boolean {
    const name = 'standard_conforming_strings';
    const set = this.settings.valueOf(name);
    return this.told.get(name) === 'off' || (set !== undefined && FALSE_TEXT.test(set));
  }

  classify(text: Buffer): Classification {
    const { context } = this;
    return context.classifier.classify(text, context.catalogOf(this.client.database), {
      standardConformingStrings: !this.#backslashEscapes,
      systemCatalogs: context.config.routing.systemCatalogs,
    });
  }
}
