import { randomBytes } from 'node:crypto';
import type { Logger } from '../../common/logger.ts';
import { ActionRefused, asking } from '../admin/action-refused.ts';
import { type DrillRun, type DrillWorld, runDrill } from './engine.ts';
import type { DrillJournal, RunningDrill, RunningLock } from './journal.ts';
import { planDrill } from './plan.ts';
import { refusalText } from './text.ts';
import type { DrillFacts, DrillPlan, DrillReport, DrillRequest } from './types.ts';

/** Guards refuse. */
export class DrillRefused extends ActionRefused {
  readonly plan: DrillPlan;

  constructor(plan: DrillPlan) {
    super(409, refusalText(plan));
    this.plan = plan;
  }
}

export interface StartedDrill {
  readonly id: string;
  readonly plan: DrillPlan;
  /** Resolves with the report when it has been kept. Rejects with what kept the drill from its end. */
  readonly done: Promise<DrillReport>;
}

/** A drill that this proxy runs, or ran last. */
export interface DrillProgress {
  readonly id: string;
  readonly state: 'running' | 'done' | 'failed';
  readonly lines: readonly string[];
  readonly report: DrillReport | null;
}

/** What console, HTTP API and schedule ask of the drills. All throw ActionRefused. */
export interface Drills {
  dryRun(request: DrillRequest): Promise<DrillPlan>;
  /** `say` gets a line for each step. Throws DrillRefused. */
  start(request: DrillRequest, say?: (line: string) => void): Promise<StartedDrill>;
  /** Whichever proxy runs it. Null: none runs. */
  abort(): Promise<RunningDrill | null>;
  running(): Promise<RunningDrill | null>;
  /** Null: this proxy has not run it; its report may be kept all the same. */
  progress(id: string): DrillProgress | null;
  /** Newest first. */
  list(): Promise<readonly DrillReport[]>;
  show(id: string): Promise<DrillReport | null>;
}

export interface RunnerOptions {
  readonly journal: DrillJournal;
  readonly proxyId: string;
  /** `drills.dsn`. */
  readonly dsn: string | null;
  readonly facts: () => Promise<DrillFacts>;
  readonly world: (dsn: string) => DrillWorld;
  readonly logger: Logger;
}

const MAX_LINES = 200;

interface OneDrill extends DrillRun {
  readonly dsn: string;
}

interface LastDrill extends DrillProgress {
  state: DrillProgress['state'];
  readonly lines: string[];
  report: DrillReport | null;
}

/** Runs drills in this proxy, one at a time in the whole cluster. The caller closes it before the store. */
export class DrillRunner implements Drills {
  readonly #options: RunnerOptions;
  #last: LastDrill | null = null;
  #abort: AbortController | null = null;
  #done: Promise<unknown> = Promise.resolve();

  constructor(options: RunnerOptions) {
    this.#options = options;
  }

  async dryRun(request: DrillRequest): Promise<DrillPlan> {
    return planDrill(request, await asking(this.#options.facts()));
  }

  async start(request: DrillRequest, say: (line: string) => void = () => {}): Promise<StartedDrill> {
    const { journal, proxyId, logger } = this.#options;
    const dsn = this.#dsn(request);
    const plan = await this.dryRun(request);
    if (!plan.allowed) throw new DrillRefused(plan);
    const startedAt = new Date().toISOString();
    const id = `${startedAt.slice(0, 19).replaceAll(/[-:]/g, '').replace('T', '-')}-${plan.kind}-${randomBytes(2).toString('hex')}`;
    const lock = await asking(
      journal.begin({ id, kind: plan.kind, proxy: proxyId, by: request.by, startedAt, abort: false }),
    );
    logger.warn({ event: 'drill.started', id, kind: plan.kind, target: plan.target, by: request.by }, plan.does);
    const abort = new AbortController();
    this.#abort = abort;
    const signal = AbortSignal.any([abort.signal, lock.aborted]);
    const done = this.#locked(lock, { id, request, plan, dsn, say, abort: signal });
    this.#done = done.catch(() => undefined);
    return { id, plan, done };
  }

  async abort(): Promise<RunningDrill | null> {
    return await asking(this.#options.journal.requestAbort());
  }

  running(): Promise<RunningDrill | null> {
    return asking(this.#options.journal.running());
  }

  progress(id: string): DrillProgress | null {
    return this.#last?.id === id ? this.#last : null;
  }

  list(): Promise<readonly DrillReport[]> {
    return asking(this.#options.journal.list());
  }

  show(id: string): Promise<DrillReport | null> {
    return asking(this.#options.journal.show(id));
  }

  /** Aborts what runs. The faults of a drill end by themselves, whatever becomes of this process. */
  async close(limitMs: number): Promise<void> {
    this.#abort?.abort();
    let timer: NodeJS.Timeout | undefined;
    const limit = new Promise((resolve) => {
      timer = setTimeout(resolve, limitMs);
    });
    await Promise.race([this.#done, limit]);
    clearTimeout(timer);
  }

  async #locked(lock: RunningLock, drill: OneDrill): Promise<DrillReport> {
    try {
      return await this.#run(drill);
    } finally {
      await lock.release();
    }
  }

  async #run(drill: OneDrill): Promise<DrillReport> {
    const { journal, logger, world } = this.#options;
    const { id, request, plan, dsn, abort } = drill;
    const last: LastDrill = { id, state: 'running', lines: [], report: null };
    this.#last = last;
    const say = (line: string) => {
      if (last.lines.length < MAX_LINES) last.lines.push(line);
      logger.info({ event: 'drill.step', id }, line);
      drill.say(line);
    };
    try {
      const report = await runDrill(world(dsn), { id, request, plan, say, abort });
      await this.#keep(journal, report, say);
      last.report = report;
      last.state = 'done';
      const { outcome } = report;
      logger.warn({ event: 'drill.ended', id, outcome, stallMs: report.writes.stallMs }, `the drill ${outcome}`);
      return report;
    } catch (error) {
      last.state = 'failed';
      say((error as Error).message);
      throw error;
    }
  }

  /** etcd may have been what was broken: some patience. */
  async #keep(journal: DrillJournal, report: DrillReport, say: (line: string) => void): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      try {
        await journal.keep(report);
        return;
      } catch (error) {
        if (attempt < 3) continue;
        say(`the report could not be kept in etcd: ${(error as Error).message}`);
        return;
      }
    }
  }

  #dsn({ dsn }: DrillRequest): string {
    const url = dsn ?? this.#options.dsn;
    if (url === null) {
      throw new ActionRefused(
        409,
        'the canary does not know what to connect to: give a connection string with the request (--dsn, LEASEHOLD_DSN), or set drills.dsn for the proxies',
      );
    }
    if (!/^postgres(ql)?:\/\//.test(url) || !URL.canParse(url)) {
      throw new ActionRefused(
        409,
        'the canary’s connection string must be a URL such as postgres://user:password@host:6432/db',
      );
    }
    return url;
  }
}
