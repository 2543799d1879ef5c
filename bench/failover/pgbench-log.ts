/** One transaction of one client of pgbench, as `--log` writes it. */
export interface LoggedTransaction {
  readonly client: number;
  /** Of the client, from 1: every transaction is logged, in order, also one that failed. */
  readonly number: number;
  readonly failed: boolean;
  /** When it ended, in milliseconds of the wall clock. */
  readonly endedMs: number;
}

/**
 * The lines are: client, transaction, µs or `failed`, script, and the moment of its end as seconds and µs.
 * https://www.postgresql.org/docs/current/pgbench.html ("Per-Transaction Logging")
 */
export function parsePgbenchLog(text: string): LoggedTransaction[] {
  const numbers = new Map<number, number>();
  const found: LoggedTransaction[] = [];
  for (const line of text.split('\n')) {
    const fields = line.split(' ');
    if (fields.length < 6) continue;
    const client = Number(fields[0]);
    const number = (numbers.get(client) ?? 0) + 1;
    numbers.set(client, number);
    const endedMs = Number(fields[4]) * 1000 + Number(fields[5]) / 1000;
    found.push({ client, number, failed: !/^\d+$/.test(fields[2] ?? ''), endedMs });
  }
  return found;
}

export interface Stalls {
  /** The longest time that any one client was without an acknowledged transaction. */
  readonly ofOneClientMs: number;
  /** The longest time in which no client had one. */
  readonly ofAllMs: number;
}

/**
 * Among the times that ended after `fromMs`. Null when some client had nothing acknowledged after it: its stall has no end.
 */
export function stallsOf(log: readonly LoggedTransaction[], clients: number, fromMs: number): Stalls | null {
  const acknowledged = log.filter(({ failed }) => !failed).sort((a, b) => a.endedMs - b.endedMs);
  const last = new Map<number, number>();
  let lastOfAll: number | null = null;
  let ofOneClientMs = 0;
  let ofAllMs = 0;
  for (const { client, endedMs } of acknowledged) {
    if (endedMs > fromMs) {
      ofOneClientMs = Math.max(ofOneClientMs, endedMs - (last.get(client) ?? fromMs));
      ofAllMs = Math.max(ofAllMs, endedMs - (lastOfAll ?? fromMs));
    }
    last.set(client, endedMs);
    lastOfAll = endedMs;
  }
  const went = [...last.values()].filter((endedMs) => endedMs > fromMs).length;
  return went < clients ? null : { ofOneClientMs, ofAllMs };
}

/** What threw clients of pgbench out, in the server's words, from its standard error. A pgbench that could not begin is no client yet. */
export function clientErrors(output: string): string[] {
  const lines = output.split('\n').filter((line) => /^pgbench: error: client \d+/.test(line));
  return lines.map((line) => /\b(?:FATAL|ERROR|PANIC): +(.*)$/.exec(line)?.[1] ?? 'connection lost');
}
