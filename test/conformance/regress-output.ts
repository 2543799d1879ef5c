import type { TestResult } from './suite.ts';

/** What pg_regress says of its tests, up to PostgreSQL 15 in its own words, later as TAP. Diffs give the details. */
export function parseRegress(output: string, diffs: string, prefix = ''): TestResult[] {
  const results: TestResult[] = [];
  for (const line of output.split('\n')) {
    const own = /^(?:test)?\s+(\S+)\s+\.\.\. (ok|FAILED|failed)\b(.*)$/.exec(line);
    const tap = /^(ok|not ok) \d+\s+[-+]\s+(\S+)(.*)$/.exec(line);
    const [name, said, rest] = own !== null ? [own[1], own[2], own[3]] : tap !== null ? [tap[2], tap[1], tap[3]] : [];
    if (name === undefined) continue;
    const isOk = said === 'ok';
    const isIgnored = !isOk && /ignored|SKIP/i.test(rest ?? '');
    const outcome = isOk ? 'passed' : isIgnored ? 'skipped' : 'failed';
    results.push({ test: `${prefix}${name}`, outcome, detail: isOk ? '' : (rest?.trim() ?? '') + diffOf(diffs, name) });
  }
  return results;
}

const MAX_LINES = 60;

/** The part of regression.diffs that belongs to a test: what it printed otherwise. */
function diffOf(diffs: string, name: string): string {
  const parts = diffs.split(/^(?=diff )/m);
  const part = parts.find((text) => (text.split('\n')[0] ?? '').endsWith(`/results/${name}.out`));
  if (part === undefined) return '';
  const changed = part.split('\n').filter((line) => /^[-+]/.test(line) && !/^(---|\+\+\+) \//.test(line));
  return `\n${changed.slice(0, MAX_LINES).join('\n')}`;
}
