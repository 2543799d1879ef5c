/** How the proxy pools the sessions of a suite's users; `direct` is a plain server without a proxy. */
export type Side = 'direct' | 'transaction' | 'session';

/** Where a suite runs: a single plain server, or a whole cluster behind its proxy. Fresh for each suite and side. */
export interface Target {
  readonly kind: 'direct' | 'proxy';
  readonly side: Side;
  readonly host: string;
  readonly port: number;
  readonly superuser: { readonly user: string; readonly password: string };
  readonly app: { readonly user: 'app'; readonly password: 'app'; readonly database: 'app' };
  /** An empty folder of this side, which PostgreSQL's user owns: what the suite prints and leaves goes here, and is kept. */
  readonly output: string;
  /** A real planned switchover, to its end; on a direct target nothing. */
  switchover(): Promise<void>;
  /** Kills the leader's postmaster (SIGKILL) and does not wait; on a direct target nothing. */
  crash(): Promise<void>;
}

export type Outcome = 'passed' | 'failed' | 'skipped';

export interface TestResult {
  readonly test: string;
  readonly outcome: Outcome;
  /** Why it failed or was skipped, in a few lines; '' when it passed. */
  readonly detail: string;
}

export interface Suite {
  readonly name: string;
  /** The sides behind a proxy; absent: transaction pooling only. */
  readonly pooling?: readonly Exclude<Side, 'direct'>[];
  /** Further `LEASEHOLD_…` settings of the cluster behind the proxy. */
  readonly settings?: Readonly<Record<string, string>>;
  /**
   * Installs what the suite needs below `work`, a folder of its own that stays from run to run. Null when it is
   * ready, else why it cannot run and what to install.
   */
  prepare(work: string): Promise<string | null>;
  /** Every test of the suite with its outcome. Throws only when nothing can be said of any test. */
  run(target: Target, work: string): Promise<readonly TestResult[]>;
}

/**
 * Settings for suites that load every processor of a machine: a leader that is starved of time is not lost for it, and the
 * changes are those that the suite makes. A crash is released at once, whatever the TTL is.
 */
export const PATIENT: Readonly<Record<string, string>> = { LEASEHOLD_CLUSTER_TTL_MS: '20000' };
