import { z } from 'zod';
import { LeaseholdError } from '../../common/errors.ts';
import { formatTable } from '../format/table.ts';
import { type ApiOptions, openApi, print } from './context.ts';

const entry = z.looseObject({
  term: z.union([z.number(), z.string()]).transform(Number),
  leader: z.string(),
  previousLeader: z.string().nullable(),
  reason: z.string(),
  timeline: z.number().nullable(),
  at: z.string(),
  detail: z.string().nullable(),
});

const answer = z.union([z.array(entry), z.looseObject({ history: z.array(entry) }).transform((body) => body.history)]);

/** How each term came to be, oldest first. */
export async function historyCommand(
  options: ApiOptions & { readonly json?: boolean; readonly last?: number },
): Promise<void> {
  const body = await openApi(options).get('/history');
  const parsed = answer.safeParse(body);
  if (!parsed.success) throw new LeaseholdError('API', 'the answer of /history is not what this version expects');
  const entries = parsed.data.toSorted((a, b) => a.term - b.term).slice(-(options.last ?? parsed.data.length));
  if (options.json) {
    print(JSON.stringify(entries, null, 2));
    return;
  }
  const rows = entries.map((one) => [
    one.term,
    one.at,
    one.leader,
    one.previousLeader,
    one.reason,
    one.timeline,
    one.detail,
  ]);
  print(formatTable(['term', 'at', 'leader', 'before', 'reason', 'timeline', 'detail'], rows));
}
