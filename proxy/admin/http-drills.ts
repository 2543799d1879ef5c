import { reportPage } from '../drill/page.ts';
import { isDrillKind, parseDrillRequest } from '../drill/request.ts';
import { type Drills, DrillRefused } from '../drill/runner.ts';
import type { DrillReport } from '../drill/types.ts';
import { ActionRefused } from './action-refused.ts';

export interface DrillAnswer {
  readonly status: number;
  /** JSON, or a page. */
  readonly body: object | string;
}

/**
 * What the HTTP API answers of drills; null: the path is none of theirs. GET /drills (newest first, and the one that runs), /drills/now (only
 * that one, and how far it is where this proxy runs it), /drills/<id> (its report, or how far it is), /drills/<id>.html. Throws ActionRefused.
 */
export async function getDrills(drills: Drills, path: string): Promise<DrillAnswer | null> {
  if (path === '/drills') {
    const [running, reports] = await Promise.all([drills.running(), drills.list()]);
    return { status: 200, body: { running, drills: reports.map(summary) } };
  }
  if (path === '/drills/now') {
    const running = await drills.running();
    const lines = running === null ? [] : (drills.progress(running.id)?.lines ?? []);
    return { status: 200, body: { running, lines } };
  }
  const match = /^\/drills\/([\w-]+?)(\.html)?$/.exec(path);
  if (match === null) return null;
  const [, id = '', html] = match;
  const progress = drills.progress(id);
  if (progress !== null && progress.state !== 'done') return { status: 200, body: progress };
  const report = progress?.report ?? (await drills.show(id));
  if (report === null) {
    const running = await drills.running();
    if (running?.id === id) return { status: 200, body: { id, state: 'running', lines: [], report: null } };
    throw new ActionRefused(404, `there is no report of a drill ${id}; GET /drills lists them`);
  }
  if (html !== undefined) return { status: 200, body: reportPage(report) };
  return { status: 200, body: { id, state: 'done', lines: progress?.lines ?? [], report } };
}

/**
 * POST /drill/<kind> {dryRun?, target?, seconds?, what?, override?, dsn?, by?} and /drill/abort; null: no such drill. Throws ActionRefused
 * (404, 409, 503). A dry run answers 200 with the plan, a drill 202 with its id, a refusal 409 with the plan that was refused.
 */
export async function postDrill(drills: Drills, path: string, body: object): Promise<DrillAnswer | null> {
  const name = path.slice('/drill/'.length);
  if (name === 'abort') {
    const running = await drills.abort();
    if (running === null) throw new ActionRefused(409, 'no drill is running');
    return { status: 202, body: { id: running.id, aborting: true } };
  }
  if (!isDrillKind(name)) return null;
  const parsed = parseDrillRequest(name, body);
  if (!parsed.ok) return { status: 400, body: { error: parsed.problem } };
  if (parsed.dryRun) return { status: 200, body: { plan: await drills.dryRun(parsed.request) } };
  try {
    const { id, plan, done } = await drills.start(parsed.request);
    done.catch(() => undefined); // GET /drills/<id> tells
    return { status: 202, body: { id, plan } };
  } catch (error) {
    if (error instanceof DrillRefused) return { status: 409, body: { error: error.message, plan: error.plan } };
    throw error;
  }
}

function summary(report: DrillReport): object {
  const { id, kind, outcome, startedAt, endedAt, by, leaderBefore, leaderAfter, writes, reads, inStepMs, plan } =
    report;
  return {
    id,
    kind,
    outcome,
    startedAt,
    endedAt,
    by,
    target: plan.target,
    seconds: plan.seconds,
    leaderBefore,
    leaderAfter,
    writeStallMs: writes.stallMs,
    readStallMs: reads.stallMs,
    predictedMs: plan.predicted.stallMs,
    acknowledged: writes.done,
    missing: writes.missing,
    inStepMs,
  };
}
