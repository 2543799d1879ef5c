import { setTimeout as sleep } from 'node:timers/promises';
import type { Canary } from './canary.ts';
import { planDrill } from './plan.ts';
import { buildReport } from './report.ts';
import { predictionText, refusalText } from './text.ts';
import type { ClientCounts, DrillFacts, DrillPlan, DrillReport, DrillRequest, Sighting } from './types.ts';
import type { BareSighting } from './sightings.ts';

/** What a drill does to the world and sees of it. All times are of `nowMs`. */
export interface DrillWorld {
  nowMs(): number;
  /** Wall clock, for people. */
  wallTime(): string;
  facts(): Promise<DrillFacts>;
  /** Begins the fault. Rejects when it could not be begun everywhere; then nothing of it is left. */
  strike(plan: DrillPlan): Promise<void>;
  /** Ends it before its time. Never rejects: the fault ends by itself at its deadline anyway. */
  lift(plan: DrillPlan): Promise<void>;
  /** Tells each change in etcd until the signal aborts. */
  observe(signal: AbortSignal, see: (what: BareSighting) => void): void;
  canary(plan: DrillPlan): Pick<Canary, 'start' | 'finish' | 'remove' | 'acknowledged' | 'firstAcknowledgedAfter'>;
  /** Who leads now, and what is not in step of these nodes; null: nothing. */
  standing(nodes: readonly string[]): {
    readonly leader: string | null;
    readonly term: number;
    readonly problem: string | null;
  };
  counts(): ClientCounts;
  /** Bytes that a node's replay is behind. */
  lagOf(node: string): number | null;
}

export interface DrillRun {
  readonly id: string;
  readonly request: DrillRequest;
  readonly plan: DrillPlan;
  readonly say: (line: string) => void;
  /** Before the fault: nothing happens. Afterwards: a fault that lasts is ended early. */
  readonly abort: AbortSignal;
}

export interface EngineTimes {
  /** Before the fault: what "normal" looks like. */
  readonly warmUpMs: number;
  /** After everything is in step: a second stall would show. */
  readonly afterMs: number;
  /** How long a new leader may take, and all nodes to be in step, after the fault is over. */
  readonly changeMs: number;
  readonly stepMs: number;
  readonly lookEveryMs: number;
}

export const TIMES: EngineTimes = {
  warmUpMs: 1500,
  afterMs: 1500,
  changeMs: 60_000,
  stepMs: 120_000,
  lookEveryMs: 25,
};

/**
 * One drill from the canary's first write to the report: warm up, look at the guards once more, strike, wait for the fault's end
 * and for all nodes, go on for a moment, check every write. Rejects only where the canary cannot even begin.
 */
export async function runDrill(world: DrillWorld, run: DrillRun, times: EngineTimes = TIMES): Promise<DrillReport> {
  return await new Engine(world, run, times).run();
}

class Engine {
  readonly #world: DrillWorld;
  readonly #run: DrillRun;
  readonly #times: EngineTimes;
  readonly #timeline: { readonly atMs: number; readonly what: BareSighting }[] = [];
  #plan: DrillPlan;
  #facts: DrillFacts | null = null;
  #struckMs: number | null = null;
  #inStepMs: number | null = null;
  #worstLagBytes: number | null = null;
  #aborted = false;
  #told = false;
  #problem: string | null = null;

  constructor(world: DrillWorld, run: DrillRun, times: EngineTimes) {
    this.#world = world;
    this.#run = run;
    this.#times = times;
    this.#plan = run.plan;
  }

  async run(): Promise<DrillReport> {
    const { say } = this.#run;
    const startedAt = this.#world.wallTime();
    const startedMs = this.#world.nowMs();
    const watching = new AbortController();
    const canary = this.#world.canary(this.#plan);
    const countsBefore = this.#world.counts();
    try {
      await canary.start();
      this.#world.observe(watching.signal, (what) => this.#see(what));
      await this.#pause(this.#times.warmUpMs, true);
      say(`canary: ${canary.acknowledged} writes acknowledged`);
      if (await this.#ready()) await this.#strikeAndWait(canary);
    } catch (error) {
      watching.abort();
      await canary.remove();
      throw error;
    }
    say('looking up every write …');
    const result = await canary.finish();
    watching.abort();
    const facts = this.#facts;
    const standing = this.#world.standing([]);
    return buildReport({
      id: this.#run.id,
      cluster: facts?.cluster ?? '',
      by: this.#run.request.by,
      proxy: facts?.self ?? '',
      plan: this.#plan,
      startedAt,
      endedAt: this.#world.wallTime(),
      startedMs,
      endedMs: this.#world.nowMs(),
      struckMs: this.#struckMs,
      inStepMs: this.#inStepMs,
      aborted: this.#aborted,
      problem: this.#problem,
      before: { leader: facts?.leader ?? null, term: facts?.term ?? 0 },
      after: { leader: standing.leader, term: standing.term },
      timeline: this.#sightings(),
      countsBefore,
      countsAfter: this.#world.counts(),
      worstLagBytes: this.#worstLagBytes,
      canary: result,
    });
  }

  /** The last look before the point of no return: what was checked a moment ago may have changed. */
  async #ready(): Promise<boolean> {
    const { request, say, abort } = this.#run;
    this.#facts = await this.#world.facts();
    // The lock is ours: what is running or was a moment ago is this drill.
    this.#plan = planDrill({ ...request, target: request.target ?? keptTarget(this.#plan) }, this.#facts);
    if (!this.#plan.allowed) {
      this.#problem = `given up before anything was done: ${refusalText(this.#plan)}`;
      this.#aborted = true;
      say(this.#problem);
      return false;
    }
    if (abort.aborted) {
      this.#aborted = true;
      say('aborted before anything was done');
      return false;
    }
    return true;
  }

  async #strikeAndWait(canary: Pick<Canary, 'firstAcknowledgedAfter'>): Promise<void> {
    const { say } = this.#run;
    const plan = this.#plan;
    say(`now: ${plan.does}; expected stall of writes: ${predictionText(plan.predicted)}`);
    const struckMs = this.#world.nowMs();
    this.#struckMs = struckMs;
    this.#see({ type: 'struck', node: null, text: plan.does });
    try {
      await this.#world.strike(plan);
    } catch (error) {
      this.#problem = `it could not be done: ${(error as Error).message}`;
      this.#struckMs = null;
      say(this.#problem);
      return;
    }
    if (plan.seconds !== null) await this.#untilLifted(canary, struckMs + plan.seconds * 1000);
    await this.#untilInStep(canary, struckMs);
    await this.#pause(this.#times.afterMs, false);
  }

  /** Until the fault ends by itself, or an abort has ended it. */
  async #untilLifted(canary: Pick<Canary, 'firstAcknowledgedAfter'>, untilMs: number): Promise<void> {
    const { say, abort } = this.#run;
    let early = false;
    while (this.#world.nowMs() < untilMs && !early) {
      this.#tellLeader(canary);
      await this.#look();
      if (!abort.aborted || this.#aborted) continue;
      this.#aborted = true;
      early = canBeLifted(this.#plan);
      if (!early) say('aborting: an agent that is stopped hears nothing; the fault ends by its own timer');
    }
    if (early) await this.#world.lift(this.#plan);
    const text = early ? 'the fault was ended early' : 'the fault is over';
    this.#see({ type: 'lifted', node: null, text });
    say(early ? 'aborting: the fault is ended' : text);
  }

  /** Once, when writes go on under a new leader. */
  #tellLeader(canary: Pick<Canary, 'firstAcknowledgedAfter'>): void {
    const { leader, term } = this.#world.standing([]);
    if (this.#told || term <= (this.#facts?.term ?? 0)) return;
    const opened = this.#timeline.findLast(({ what }) => what.type === 'open');
    if (opened === undefined || canary.firstAcknowledgedAfter(opened.atMs) === null) return;
    this.#told = true;
    this.#run.say(`${leader} leads term ${term}, and writes go on`);
  }

  async #untilInStep(canary: Pick<Canary, 'firstAcknowledgedAfter'>, struckMs: number): Promise<void> {
    const { say } = this.#run;
    const facts = this.#facts as DrillFacts;
    const names = facts.nodes.filter((node) => node.usable || node.node === facts.leader).map((node) => node.node);
    const fromMs = this.#world.nowMs();
    let problem: string | null = null;
    for (;;) {
      const waitedMs = this.#world.nowMs() - fromMs;
      const standing = this.#world.standing(names);
      problem = standing.problem;
      const moved = standing.term > facts.term;
      const mustMove = this.#plan.changesLeader && !this.#aborted;
      if (mustMove && !moved && waitedMs < this.#times.changeMs) {
        problem ??= 'no new leader yet';
      }
      const wrote = canary.firstAcknowledgedAfter(this.#writesFrom(struckMs)) !== null;
      this.#tellLeader(canary);
      if (problem === null && wrote) break;
      if (waitedMs > this.#times.stepMs) {
        this.#problem = problem === null ? 'no write was acknowledged any more' : `not in step: ${problem}`;
        say(this.#problem);
        return;
      }
      await this.#look();
    }
    this.#inStepMs = this.#world.nowMs();
    this.#see({ type: 'in-step', node: null, text: 'every node is in step' });
    say('every node is in step');
  }

  /** A write that was sent before this tells nothing of how the drill went. */
  #writesFrom(struckMs: number): number {
    const opened = this.#timeline.findLast(({ what }) => what.type === 'open' || what.type === 'lifted');
    return opened === undefined ? struckMs : Math.max(struckMs, opened.atMs);
  }

  async #look(): Promise<void> {
    if (this.#plan.kind === 'lag') {
      const lag = this.#world.lagOf(this.#plan.target);
      if (lag !== null) this.#worstLagBytes = Math.max(this.#worstLagBytes ?? 0, lag);
    }
    await sleep(this.#times.lookEveryMs);
  }

  async #pause(ms: number, abortable: boolean): Promise<void> {
    const untilMs = this.#world.nowMs() + ms;
    while (this.#world.nowMs() < untilMs && !(abortable && this.#run.abort.aborted)) await sleep(20);
  }

  #see(what: BareSighting): void {
    if (this.#timeline.length < 500) this.#timeline.push({ atMs: this.#world.nowMs(), what });
  }

  #sightings(): Sighting[] {
    const zero = this.#struckMs ?? 0;
    return this.#struckMs === null ? [] : this.#timeline.map(({ atMs, what }) => ({ ...what, atMs: atMs - zero }));
  }
}

function canBeLifted({ kind, what }: DrillPlan): boolean {
  return kind !== 'freeze' || what !== 'agent';
}

/** The second look must not choose another one than the operator was told. */
function keptTarget({ kind, target }: DrillPlan): string | null {
  return kind === 'switchover' || kind === 'lag' || kind === 'proxy' ? target : null;
}
