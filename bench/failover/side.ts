/** A system under test: three nodes and one address for clients. */
export interface Side extends AsyncDisposable {
  readonly name: string;
  /** Versions and settings, for the report. */
  readonly about: string;
  /** Where clients connect. */
  readonly port: number;
  /** What it does comes round in this time: a fault falls anywhere in it. */
  readonly cycleMs: number;
  /** Resolves when all nodes are in step and writes go on; rejects after a bound. */
  settle(): Promise<void>;
  /** SIGKILL to every process of the leader's PostgreSQL; resolves when all are gone. */
  crash(): Promise<Fault>;
  /** SIGKILL to everything that runs on the leader's host, which stays down until `restore`. */
  loseHost(): Promise<Fault>;
  /** As an operator asks for it; resolves when the system says that it is done. */
  switchover(): Promise<void>;
  /** Begins to note what the cluster itself shows of a change. */
  observe?(): Observation;
}

export interface Fault {
  /** When the first signal was sent (`performance.now()`). */
  readonly struckMs: number;
  readonly restore: () => void;
}

/** Ends it, with the moments of the fault and of the first write after it. */
export type Observation = (struckMs: number, firstMs: number) => Promise<Observed>;

export interface Observed {
  /** Milliseconds of each; null where it was not seen. */
  readonly phases: Readonly<Record<string, number | null>>;
  /** What was seen, each with its milliseconds since the fault. */
  readonly timeline: readonly string[];
}

/** Polls; rejects after `boundMs`. */
export async function until(what: string, boundMs: number, condition: () => Promise<boolean>): Promise<void> {
  const endMs = performance.now() + boundMs;
  let last = '';
  while (performance.now() < endMs) {
    try {
      if (await condition()) return;
      last = '';
    } catch (error) {
      last = ` (${(error as Error).message})`;
    }
    await new Promise((done) => setTimeout(done, 100));
  }
  throw new Error(`not within ${Math.round(boundMs / 1000)} s: ${what}${last}`);
}
