import { LeaseholdError } from '../../common/errors.ts';
import { duration, reportText } from '../../proxy/drill/text.ts';
import type { DrillReport } from '../../proxy/drill/types.ts';
import { formatTable } from '../format/table.ts';
import { type ApiOptions, openApi, print } from './context.ts';
import { writePage } from './drill.ts';

export interface DrillSummary {
  readonly id: string;
  readonly kind: string;
  readonly outcome: string;
  readonly startedAt: string;
  readonly target: string;
  readonly leaderBefore: string | null;
  readonly leaderAfter: string | null;
  readonly writeStallMs: number | null;
  readonly readStallMs: number | null;
  readonly predictedMs: number;
  readonly missing: number;
  readonly inStepMs: number | null;
}

interface Listing {
  readonly running: { readonly id: string; readonly kind: string; readonly proxy: string; readonly by: string } | null;
  readonly drills: readonly DrillSummary[];
}

/** The reports that etcd keeps, oldest first, so that a trend reads downwards. */
export async function drillListCommand(options: ApiOptions & { readonly json?: boolean }): Promise<void> {
  const listing = (await openApi(options).get('/drills')) as Listing;
  print(options.json ? JSON.stringify(listing, null, 2) : listText(listing));
}

/** Exported for its test. */
export function listText({ running, drills }: Listing): string {
  const lines =
    running === null ? [] : [`running: ${running.kind} ${running.id} on ${running.proxy}, asked for by ${running.by}`];
  if (drills.length === 0)
    return [...lines, 'no drill has been kept: "leasehold drill switchover --dry-run" is a beginning'].join('\n');
  const rows = drills
    .toReversed()
    .map((one) => [
      one.id,
      one.outcome,
      one.target,
      `${one.leaderBefore ?? '-'} → ${one.leaderAfter ?? '-'}`,
      time(one.writeStallMs),
      time(one.predictedMs),
      time(one.readStallMs),
      one.missing,
      time(one.inStepMs),
    ]);
  const columns = [
    'drill',
    'outcome',
    'target',
    'leader',
    'writes stood',
    'predicted',
    'reads stood',
    'lost',
    'in step after',
  ];
  return [...lines, formatTable(columns, rows)].join('\n');
}

export async function drillShowCommand(
  id: string,
  options: ApiOptions & { readonly json?: boolean; readonly html?: string },
): Promise<void> {
  const answer = (await openApi(options).get(`/drills/${encodeURIComponent(id)}`)) as {
    state: string;
    lines: readonly string[];
    report: DrillReport | null;
  };
  const { report } = answer;
  if (report === null) {
    throw new LeaseholdError(
      'DRILL',
      `drill ${id} has no report yet (${answer.state}): ${answer.lines.at(-1) ?? 'it runs'}`,
    );
  }
  if (options.html !== undefined) writePage(options.html, report, print);
  else print(options.json ? JSON.stringify(report, null, 2) : reportText(report));
}

function time(ms: number | null): string | null {
  return ms === null ? null : duration(ms);
}
