import type { Append, Operation, ReadOperation, WriteOperation } from './history.ts';

export interface Violation {
  readonly rule: Rule;
  readonly text: string;
}

export type Rule =
  | 'lost'
  | 'resurrected'
  | 'duplicate'
  | 'gap'
  | 'foreign'
  | 'torn'
  | 'changed'
  | 'order'
  | 'own-write-unseen'
  | 'read-went-back'
  | 'early-view'
  | 'read-undone'
  | 'two-leaders';

/** All rows at the end, of the leader: a key's values and their places. */
export interface FinalRow {
  readonly key: number;
  readonly n: number;
  readonly value: number;
}

/**
 * Compares what clients were told with what is there (invariants I1 to I3, I7, I9 of the design). Pure. Of a rule that is
 * broken many times all cases are returned.
 */
export function check(operations: readonly Operation[], rows: readonly FinalRow[]): Violation[] {
  const writes = operations.filter((operation) => operation.type === 'write');
  const reads = operations.filter((operation) => operation.type === 'read');
  const final = new Final(rows);
  return [
    ...final.violations,
    ...checkWrites(writes, final),
    ...checkRealTime(writes),
    ...checkLeaders(writes),
    ...checkReads(reads, final),
    ...checkSessions(operations, acknowledgements(writes)),
  ];
}

class Final {
  readonly violations: Violation[] = [];
  readonly #places = new Map<number, { readonly key: number; readonly n: number }>();
  readonly #lists = new Map<number, Map<number, number>>();

  constructor(rows: readonly FinalRow[]) {
    for (const { key, n, value } of rows) {
      const before = this.#places.get(value);
      if (before !== undefined)
        this.violations.push({
          rule: 'duplicate',
          text: `${value} is at ${place(before)} and at ${place({ key, n })}`,
        });
      this.#places.set(value, { key, n });
      let list = this.#lists.get(key);
      if (list === undefined) this.#lists.set(key, (list = new Map()));
      list.set(n, value);
    }
    for (const [key, list] of this.#lists) {
      for (let n = 1; n <= list.size; n++)
        if (!list.has(n)) this.violations.push({ rule: 'gap', text: `${place({ key, n })} is missing` });
    }
  }

  values(): Iterable<number> {
    return this.#places.keys();
  }

  placeOf(value: number): { readonly key: number; readonly n: number } | null {
    return this.#places.get(value) ?? null;
  }

  at(key: number, n: number): number | null {
    return this.#lists.get(key)?.get(n) ?? null;
  }
}

/** Acknowledged: there, once, where the server said. Refused: absent. Unknown: all of it or nothing. Nothing that nobody wrote. */
function checkWrites(writes: readonly WriteOperation[], final: Final): Violation[] {
  const found: Violation[] = [];
  const known = new Set<number>();
  for (const write of writes) {
    const there = write.appends.filter(({ value }) => final.placeOf(value) !== null);
    for (const { value } of write.appends) known.add(value);
    if (write.verdict === 'acknowledged') found.push(...checkAcknowledged(write, final));
    else if (write.verdict === 'refused')
      for (const { value } of there)
        found.push({ rule: 'resurrected', text: `${value} is there, and was refused: ${describe(write)}` });
    else if (there.length !== 0 && there.length !== write.appends.length)
      found.push({ rule: 'torn', text: `${there.length} of ${write.appends.length} are there: ${describe(write)}` });
  }
  for (const value of final.values())
    if (!known.has(value)) found.push({ rule: 'foreign', text: `nobody wrote ${value}` });
  return found;
}

function checkAcknowledged(write: WriteOperation, final: Final): Violation[] {
  return write.appends.flatMap(({ key, value, n }): Violation[] => {
    const where = final.placeOf(value);
    if (where === null) return [{ rule: 'lost', text: `${value} is not there: ${describe(write)}` }];
    if (where.key === key && (n === null || where.n === n)) return [];
    return [
      { rule: 'changed', text: `${value} is at ${place(where)}, told was ${place({ key, n })}: ${describe(write)}` },
    ];
  });
}

/** What was begun after another append to the same key was acknowledged stands after it. */
function checkRealTime(writes: readonly WriteOperation[]): Violation[] {
  const byKey = new Map<number, { readonly n: number; readonly write: WriteOperation }[]>();
  for (const write of writes) {
    if (write.verdict !== 'acknowledged') continue;
    for (const { key, n } of write.appends) {
      if (n === null) continue;
      const list = byKey.get(key);
      if (list === undefined) byKey.set(key, [{ n, write }]);
      else list.push({ n, write });
    }
  }
  const found: Violation[] = [];
  for (const [key, list] of byKey) {
    list.sort((a, b) => b.n - a.n);
    let earliest: { readonly n: number; readonly write: WriteOperation } | null = null;
    for (const entry of list) {
      if (earliest !== null && earliest.write.endMs < entry.write.startMs)
        found.push({
          rule: 'order',
          text: `${place({ key, n: entry.n })} was begun after ${place({ key, n: earliest.n })} was acknowledged: ${describe(entry.write)}`,
        });
      if (earliest === null || entry.write.endMs < earliest.write.endMs) earliest = entry;
    }
  }
  return found;
}

/**
 * A timeline has one server (I4), and once a write on a later one was acknowledged, no commit that was sent afterwards is
 * acknowledged on an earlier one (I1). Timelines stand for terms here: where something was acknowledged, whoever is
 * elected next holds it, and with it the number of its timeline, which only grows.
 */
function checkLeaders(writes: readonly WriteOperation[]): Violation[] {
  const found: Violation[] = [];
  const servers = new Map<number, string>();
  const reigns = new Map<number, { firstEndMs: number; last: WriteOperation; lastCommitMs: number }>();
  for (const write of writes) {
    const [append] = write.appends;
    if (write.verdict !== 'acknowledged' || write.commitMs === null || append === undefined) continue;
    const { timeline, server } = append;
    if (timeline === null || server === null) continue;
    const other = servers.get(timeline);
    if (other !== undefined && other !== server)
      found.push({
        rule: 'two-leaders',
        text: `timeline ${timeline} is of ${other} and of ${server}: ${describe(write)}`,
      });
    servers.set(timeline, server);
    const seen = reigns.get(timeline);
    if (seen === undefined) {
      reigns.set(timeline, { firstEndMs: write.endMs, last: write, lastCommitMs: write.commitMs });
      continue;
    }
    seen.firstEndMs = Math.min(seen.firstEndMs, write.endMs);
    if (write.commitMs > seen.lastCommitMs) Object.assign(seen, { last: write, lastCommitMs: write.commitMs });
  }
  let later: { readonly timeline: number; readonly firstEndMs: number } | null = null;
  for (const [timeline, { firstEndMs, last, lastCommitMs }] of [...reigns].sort(([a], [b]) => b - a)) {
    if (later !== null && lastCommitMs > later.firstEndMs)
      found.push({
        rule: 'two-leaders',
        text: `timeline ${timeline} acknowledged ${(lastCommitMs - later.firstEndMs).toFixed(0)} ms after timeline ${later.timeline} had: ${describe(last)}`,
      });
    if (later === null || firstEndMs < later.firstEndMs) later = { timeline, firstEndMs };
  }
  return found;
}

/** What was read is there for good. */
function checkReads(reads: readonly ReadOperation[], final: Final): Violation[] {
  return reads
    .filter(({ key, n, value }) => n > 0 && final.at(key, n) !== value)
    .map((read) => ({
      rule: 'read-undone',
      text: `${read.value} was read at ${place(read)}, where ${final.at(read.key, read.n) ?? 'nothing'} is: ${describe(read)}`,
    }));
}

/** By key and place: when somebody was told. */
function acknowledgements(writes: readonly WriteOperation[]): Map<string, number> {
  const told = new Map<string, number>();
  for (const { verdict, endMs, appends } of writes)
    if (verdict === 'acknowledged') for (const { key, n } of appends) told.set(`${key} ${n}`, endMs);
  return told;
}

/**
 * A session's reads of a key never go back, and see what it was told is committed. `early-view`: it went back to before
 * something that nobody had been told of yet. A follower shows a commit as soon as it has it, the leader when its quorum has
 * confirmed it, and the proxy waits for that.
 */
function checkSessions(operations: readonly Operation[], acknowledgedMs: ReadonlyMap<string, number>): Violation[] {
  const found: Violation[] = [];
  const wasTold = (key: number, from: number, to: number, beforeMs: number): boolean => {
    for (let n = from; n <= to; n++) if ((acknowledgedMs.get(`${key} ${n}`) ?? Infinity) < beforeMs) return true;
    return false;
  };
  const sessions = new Map<number, { readonly read: Map<number, number>; readonly wrote: Map<number, number> }>();
  for (const operation of [...operations].sort((a, b) => a.startMs - b.startMs)) {
    let session = sessions.get(operation.session);
    if (session === undefined) sessions.set(operation.session, (session = { read: new Map(), wrote: new Map() }));
    if (operation.type === 'read') {
      const { key, n } = operation;
      const wrote = session.wrote.get(key) ?? 0;
      const read = session.read.get(key) ?? 0;
      if (n < wrote)
        found.push({
          rule: 'own-write-unseen',
          text: `${place({ key, n: wrote })} was acknowledged: ${describe(operation)}`,
        });
      else if (n < read)
        found.push({
          rule: wasTold(key, n + 1, read, operation.startMs) ? 'read-went-back' : 'early-view',
          text: `${place({ key, n: read })} was read before: ${describe(operation)}`,
        });
      session.read.set(key, Math.max(n, read));
    } else if (operation.verdict === 'acknowledged') {
      for (const { key, n } of operation.appends) session.wrote.set(key, Math.max(n ?? 0, session.wrote.get(key) ?? 0));
    }
  }
  return found;
}

function place({ key, n }: { readonly key: number; readonly n: number | null }): string {
  return `list ${key}, place ${n ?? '?'}`;
}

function describe(operation: Operation): string {
  const when = `${(operation.startMs / 1000).toFixed(3)}–${(operation.endMs / 1000).toFixed(3)} s`;
  const who = `session ${operation.session} through ${operation.proxy}, ${when}`;
  if (operation.type === 'read') return `${who}, saw ${operation.value} at ${place(operation)} on ${operation.server}`;
  return `${who}, ${operation.verdict}${operation.sqlState === null ? '' : ` (${operation.sqlState})`} ${operation.appends.map(told).join(', ')}`;
}

function told({ key, value, n, timeline, server }: Append): string {
  return `${value} at ${place({ key, n })}${timeline === null ? '' : ` on timeline ${timeline} by ${server}`}`;
}
