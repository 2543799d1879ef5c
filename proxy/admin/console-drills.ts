import { ClientError } from '../../common/errors.ts';
import { isDrillKind, parseDrillRequest } from '../drill/request.ts';
import { type Drills, DrillRefused } from '../drill/runner.ts';
import { duration, planText, reportText, verdictText } from '../drill/text.ts';
import type { DrillRequest } from '../drill/types.ts';
import { ints, texts } from './columns.ts';
import type { LateShowCommand } from './tables.ts';

export interface DrillCommand {
  readonly request: Omit<DrillRequest, 'by'>;
  readonly dryRun: boolean;
}

export const DRILL_SYNTAX =
  "DRILL { switchover | crash | freeze | partition | etcd | lag | proxy } [DRY RUN] [TARGET name] [FOR seconds] [AGENT] [OVERRIDE guard,…] [DSN 'postgres://…']";

/** The words after DRILL, in any order but for the first. Throws ClientError 42601 with what there is. */
export function parseDrill(words: readonly string[]): DrillCommand {
  const kind = (words[0] ?? '').toLowerCase();
  if (!isDrillKind(kind)) throw syntax(kind === '' ? 'which drill?' : `there is no drill "${kind}"`);
  const body: Record<string, unknown> = {};
  for (let i = 1; i < words.length; i++) {
    const word = (words[i] ?? '').toUpperCase();
    if (word === 'DRY' && words[i + 1]?.toUpperCase() === 'RUN') {
      body['dryRun'] = true;
      i += 1;
    } else if (word === 'AGENT') {
      body['what'] = 'agent';
    } else {
      const field = VALUES.get(word);
      const value = words[i + 1];
      if (field === undefined || value === undefined) throw syntax(`unexpected "${words[i]}"`);
      body[field] = field === 'seconds' ? Number(value) : value;
      i += 1;
    }
  }
  const parsed = parseDrillRequest(kind, body);
  if (!parsed.ok) throw syntax(parsed.problem);
  return { request: parsed.request, dryRun: parsed.dryRun };
}

const VALUES: ReadonlyMap<string, string> = new Map([
  ['TARGET', 'target'],
  ['FOR', 'seconds'],
  ['OVERRIDE', 'override'],
  ['DSN', 'dsn'],
]);

/**
 * Runs it to its end, with a notice for each step and the report as the last. A cancel (Ctrl-C in psql), like the client's going, asks for an
 * abort. Throws ClientError 55000 where it is refused, 57014 where it was aborted, F0000 where it failed.
 */
export async function drillByConsole(
  drills: Drills,
  command: DrillCommand,
  user: string,
  say: (notice: string) => void,
  signal: AbortSignal,
): Promise<string> {
  const request = { ...command.request, by: `${user}, console` };
  if (command.dryRun) return planText(await drills.dryRun(request));
  const onAbort = (): void => void drills.abort().catch(() => undefined);
  try {
    const { done } = await drills.start(request, say);
    signal.addEventListener('abort', onAbort, { once: true });
    if (signal.aborted) onAbort();
    const report = await done;
    const text = reportText(report);
    if (report.outcome === 'passed') return text;
    say(text);
    const sqlState = report.outcome === 'aborted' ? '57014' : 'F0000';
    throw new ClientError({ sqlState, message: verdictText(report), hint: `SHOW DRILLS lists it: ${report.id}.` });
  } catch (error) {
    if (!(error instanceof DrillRefused)) throw error;
    const detail = planText(error.plan);
    throw new ClientError({ sqlState: '55000', message: error.message.replaceAll('--override', 'OVERRIDE'), detail });
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

export async function abortByConsole(drills: Drills): Promise<string> {
  const running = await drills.abort();
  if (running === null) throw new ClientError({ sqlState: '55000', message: 'no drill is running' });
  return `asked drill ${running.id} on ${running.proxy} to end`;
}

export const DRILLS: LateShowCommand = {
  help: 'drills of this cluster: the one that runs, then the kept reports, newest first',
  columns: [
    ...texts('drill', 'kind', 'outcome', 'target', 'leader', 'started'),
    ...ints('write_stall_ms', 'predicted_ms', 'read_stall_ms', 'acknowledged', 'missing', 'in_step_ms'),
    ...texts('summary', 'asked_by'),
  ],
  async rows({ drills }) {
    const [running, reports] = await Promise.all([drills.running(), drills.list()]);
    const now =
      running === null
        ? []
        : [
            {
              drill: running.id,
              kind: running.kind,
              outcome: 'running',
              started: running.startedAt,
              asked_by: running.by,
            },
          ];
    const kept = reports.map((report) => ({
      drill: report.id,
      kind: report.kind,
      outcome: report.outcome,
      target: report.plan.target,
      leader: `${report.leaderBefore ?? '-'} → ${report.leaderAfter ?? '-'}`,
      started: report.startedAt,
      write_stall_ms: report.writes.stallMs,
      predicted_ms: report.plan.predicted.stallMs,
      read_stall_ms: report.reads.stallMs,
      acknowledged: report.writes.done,
      missing: report.writes.checked ? report.writes.missing : null,
      in_step_ms: report.inStepMs,
      summary: report.problem ?? `writes stood still for ${duration(report.writes.stallMs ?? 0)}`,
      asked_by: report.by,
    }));
    return [...now, ...kept];
  },
};

function syntax(what: string): ClientError {
  return new ClientError({ sqlState: '42601', message: what, hint: DRILL_SYNTAX });
}
