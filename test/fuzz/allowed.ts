/**
 * Differences that are meant, or that no client can be hurt by; each with the reason. Everything else is a fault.
 */
interface Allowance {
  readonly why: string;
  readonly direct: RegExp;
  readonly proxied: RegExp;
  /** What follows cannot be compared any more: the two transactions went different ways. */
  readonly parts?: true;
}

const ALLOWED: readonly Allowance[] = [
  {
    why: 'a server that has had a temporary schema, now empty, does not miss it',
    direct: /^E .* C3F000 Mschema "pg_temp" does not exist/,
    proxied: /^E .* C42P01 M\w+ "\w+" does not exist/,
  },
  {
    why: 'a server that copies nothing in a READ ONLY transaction says so by its role, and before it looks for the table',
    direct: /^E .* C(?:25006 Mcannot execute COPY FROM in a read-only|42P01 Mrelation)/,
    proxied: /^E .* C25006 Mcannot execute COPY(?: FROM)? during recovery/,
  },
  {
    why: 'the end of a prepared transaction, which no transaction block may have, is refused by a standby for being one',
    direct: /^E .* C25001 M(COMMIT|ROLLBACK) PREPARED cannot run inside a transaction block/,
    proxied: /^E .* C25006 Mcannot execute (COMMIT|ROLLBACK) PREPARED during recovery/,
  },
  {
    why: 'a statement from before search_path changed is looked up by the new one as soon as it meets another server, not when it is bound',
    direct: /^t /,
    proxied: /^E .* C42P01 Mrelation "\w+" does not exist/,
    parts: true,
  },
  {
    why: 'a statement whose columns the client was never told is made anew after DDL instead of being refused',
    direct: /^E .* C0A000 Mcached plan must not change result type/,
    proxied: /^[2tTn] /,
    parts: true,
  },
];

/** What the proxy may answer instead: `parts` as in the list. Null: this is a difference. */
function allowance(direct: string, proxied: string): Allowance | null {
  return ALLOWED.find((each) => each.direct.test(direct) && each.proxied.test(proxied)) ?? null;
}

/** What follows a RESET in one sequence sees the server's default, not the start-up parameter (CHANGELOG, known limits). */
function afterReset(direct: string, proxied: string): boolean {
  return direct.startsWith('D ') && direct.replace(/\\u0005fuzz\d/, '\\u0000') === proxied;
}

/**
 * How many lines agree: all of both, where that is the length of the longer one. Infinity: an allowed difference ends the comparison.
 * `resets`: the program has a RESET in a sequence of messages.
 */
export function agreement(direct: readonly string[], proxied: readonly string[], resets = false): number {
  let at = 0;
  for (; at < direct.length || at < proxied.length; at++) {
    const [expected, heard] = [direct[at], proxied[at]];
    if (expected === heard) continue;
    if (expected === undefined || heard === undefined) return at;
    if (resets && afterReset(expected, heard)) continue;
    const allowed = allowance(expected, heard);
    if (allowed === null) return at;
    if (allowed.parts === true) return Infinity;
  }
  return at;
}
