import type { Term } from '../../common/lsn.ts';
import type {
  HistoryRecord,
  MemberRecord,
  PauseRecord,
  ProxyRecord,
  RouteRecord,
  SettingsRecord,
} from '../../election/store/records.ts';

/** What this proxy knows of the cluster from etcd. Replaced as a whole, never mutated. */
export interface ClusterView {
  readonly route: RouteRecord | null;
  readonly members: ReadonlyMap<string, MemberRecord>;
  readonly proxies: ReadonlyMap<string, ProxyRecord>;
  /** How each term came to be: whose content it goes on from, and which transaction id was its first. */
  readonly history: ReadonlyMap<Term, HistoryRecord>;
  /** An operator has stopped automatic failover; null: it is on. */
  readonly pause: PauseRecord | null;
  /** Settings of the whole cluster; null: each node's own file rules. */
  readonly settings: SettingsRecord | null;
  /** Milliseconds of the local clock at which etcd last answered; -Infinity before the first answer. */
  readonly confirmedAtMs: number;
}

/**
 * The proxy's hold on S5: the current term's leader, while this proxy has itself confirmed that the lease lives
 * (`request sent + remaining TTL − margin` on its own clock). Fails closed.
 */
export interface LeaseView {
  readonly view: ClusterView;
  /** The open route of a confirmed lease, else null. Cheap: called for every unit of leader work. */
  leader(): LeaderTarget | null;
  /** Whether leader work begun for `term` may go on being sent. */
  stillLeads(term: Term): boolean;
  /** Why there is no leader for writes now, for a person: what was lost, when, and what is awaited. */
  explain(): string;
  /** After each change of `leader()` or of the view. Returns how to stop. */
  subscribe(listener: () => void): () => void;
  close(): Promise<void>;
}

export interface LeaderTarget {
  readonly term: Term;
  readonly node: string;
  readonly host: string;
  readonly port: number;
  readonly seq: number;
}

/**
 * Leader work passes here: at once while the route is open and the lease confirmed, else it is held. The hold is
 * bounded in time and number, in arrival order, and ends only by a newer open route or its deadline.
 */
export interface WriteGate {
  /** Null when the work would have to be held. */
  tryEnter(): LeaderPass | null;
  /**
   * Waits for the gate. Throws ClientError 57P03 at the deadline (message says what is known: no leader, etcd
   * unreachable, since when), 53300 when too many are held; rejects with the signal's reason when it aborts.
   */
  enter(signal: AbortSignal): Promise<LeaderPass>;
  readonly held: number;
  readonly inFlight: number;
}

/** The right to do one unit of leader work (a statement, a pipeline up to Sync, a transaction) in one term. */
export interface LeaderPass extends LeaderTarget {
  /** Must be called once, when the unit is over; later calls do nothing. Lets a planned hold be acknowledged. */
  leave(): void;
}
