import { Random } from '../simulation/random.ts';
import { PARAMETERS, setupOf, sqlOf, TOPICS, type Topic } from './grammar.ts';
import type { Item, Message } from './messages.ts';

/** What one client does. `cuts`: how its bytes are cut into pieces; 0: not at all. */
export interface Program {
  readonly session: number;
  readonly topics: readonly Topic[];
  readonly setup: readonly Item[];
  readonly items: readonly Item[];
  readonly cuts: number;
}

/** Kept apart: what the proxy says it does not keep beyond a read-only transaction on a follower (CHANGELOG, known limits). */
const OUTLIVES: ReadonlySet<Topic> = new Set(['cursor', 'lock']);

const MAX_ROUNDS = 18;

/** The same seed gives the same program. */
export function programOf(seed: number, session: number): Program {
  const random = new Random(seed);
  const topics = drawTopics(random);
  const items: Item[] = [];
  const rounds = 3 + random.below(MAX_ROUNDS);
  const extended = random.pick([0, 0.3, 0.6, 0.9]);
  const ahead = random.pick([0, 0, 0.4, 0.9]);
  for (let i = 0; i < rounds; i++) {
    items.push(...round(random, topics, session, extended));
    if (!random.chance(ahead)) items.push({ type: 'wait' });
  }
  items.push({ type: 'sync' }, { type: 'wait' });
  const setup: Item[] = setupOf(session).flatMap((sql): Item[] => [{ type: 'query', sql }, { type: 'wait' }]);
  return { session, topics, setup, items, cuts: random.chance(0.3) ? 1 + random.below(1_000_000) : 0 };
}

/** Of the connection's start-up. */
export function parametersOf(program: Program): [string, string][] {
  return [['application_name', `fuzz${program.session}`]];
}

function drawTopics(random: Random): [Topic, ...Topic[]] {
  const chosen = TOPICS.filter(() => random.chance(0.3));
  const readOnly = chosen.includes('read-only');
  return ['read', ...chosen.filter((topic) => !readOnly || !OUTLIVES.has(topic))];
}

type Topics = readonly [Topic, ...Topic[]];

function round(random: Random, topics: Topics, session: number, extended: number): Item[] {
  if (topics.includes('copy') && random.chance(0.3)) return copyIn(random, session);
  if (random.chance(0.02)) return [call(random)];
  return random.chance(extended) ? pipeline(random, topics, session) : [simple(random, topics, session)];
}

function simple(random: Random, topics: Topics, session: number): Message {
  const count = random.chance(0.2) ? 2 + random.below(3) : 1;
  const texts = Array.from({ length: count }, () => sqlOf(random, topics, session));
  // What follows a RESET in one text sees the server's default, not the start-up parameter (CHANGELOG, known limits).
  const last = texts.findIndex((text) => RESETS.test(text));
  return { type: 'query', sql: texts.slice(0, last < 0 ? undefined : last + 1).join('; ') };
}

export const RESETS = /^(?:RESET ALL|DISCARD ALL)$/;

const STATEMENTS = ['', '', '', 's1', 's2', 's3'] as const;
const PORTALS = ['', '', '', 'p1', 'p2', 'c1'] as const;

/** Messages up to a Sync: mostly whole statements, with single messages in any order between them. */
function pipeline(random: Random, topics: Topics, session: number): Item[] {
  const items: Item[] = [];
  const parts = 1 + random.below(random.chance(0.3) ? 6 : 2);
  for (let i = 0; i < parts; i++) {
    items.push(...(random.chance(0.7) ? statement(random, topics, session) : [single(random, topics, session)]));
    if (random.chance(0.1)) items.push({ type: 'flush' }, { type: 'wait' });
    else if (random.chance(0.04)) items.push(simple(random, topics, session));
  }
  items.push({ type: 'sync' });
  return items;
}

function statement(random: Random, topics: Topics, session: number): Message[] {
  const name = random.pick(STATEMENTS);
  const portal = random.pick(PORTALS);
  const withParameters = random.chance(0.35);
  const [sql, count] = withParameters
    ? random.pick(PARAMETERS as [[string, number], ...[string, number][]])
    : [sqlOf(random, topics, session), 0];
  const items: Message[] = [];
  if (name !== '' && random.chance(0.4)) items.push({ type: 'close', kind: 'S', name });
  if (!random.chance(0.2)) items.push({ type: 'parse', name, sql, oids: oidsOf(random, count) });
  if (random.chance(0.2)) items.push({ type: 'describe', kind: 'S', name });
  items.push(bindOf(random, portal, name, count));
  if (random.chance(0.5)) items.push({ type: 'describe', kind: 'P', name: portal });
  const times = random.chance(0.15) ? 2 : 1;
  for (let i = 0; i < times; i++)
    items.push({ type: 'execute', portal, maxRows: random.chance(0.3) ? 1 + random.below(3) : 0 });
  if (random.chance(0.1)) items.push({ type: 'close', kind: 'P', name: portal });
  return items;
}

function single(random: Random, topics: Topics, session: number): Message {
  const name = random.pick(STATEMENTS);
  const portal = random.pick(PORTALS);
  switch (random.below(7)) {
    case 0:
      return { type: 'parse', name, sql: sqlOf(random, topics, session), oids: [] };
    case 1:
      return bindOf(random, portal, name, random.below(3));
    case 2:
      return { type: 'describe', kind: 'S', name };
    case 3:
      return { type: 'describe', kind: 'P', name: portal };
    case 4:
      return { type: 'close', kind: random.pick(['S', 'P']), name: random.chance(0.5) ? name : portal };
    case 5:
      return { type: 'sync' };
    default:
      return { type: 'execute', portal, maxRows: random.below(3) };
  }
}

function oidsOf(random: Random, count: number): number[] {
  if (!random.chance(0.15)) return [];
  return Array.from({ length: count }, () => random.pick([0, 23, 25, 20]));
}

const VALUES: readonly [string | null, ...(string | null)[]] = [
  '1',
  '2',
  '3',
  '77',
  '0',
  'x',
  '',
  null,
  'é',
  "it's",
  '{a,"row 2"}',
];

function bindOf(random: Random, portal: string, statement: string, wanted: number): Message {
  const count = random.chance(0.05) ? random.below(4) : wanted;
  const binary = random.chance(0.1);
  const values = Array.from({ length: count }, () =>
    binary ? random.pick(['00000001', '0000000000000002', '', '78']) : random.pick(VALUES),
  );
  const results = random.chance(0.15) ? [1] : [];
  return { type: 'bind', portal, statement, formats: binary ? [1] : [], values, results };
}

function call(random: Random): Message {
  const one = '00000001';
  return random.pick<Message>([
    { type: 'call', oid: 177, values: [one, '00000002'] }, // int4pl
    { type: 'call', oid: 154, values: [one, '00000000'] }, // int4div by zero
    { type: 'call', oid: 177, values: [one] },
    { type: 'call', oid: 1, values: [] },
  ]);
}

/** A COPY of rows, in one of the ways that clients do it. */
function copyIn(random: Random, session: number): Item[] {
  const sql = random.pick([
    'COPY t FROM STDIN',
    'COPY t FROM STDIN',
    'COPY nosuch FROM STDIN',
    'COPY t (i) FROM STDIN (FORMAT csv)',
    'COPY t FROM STDIN; SELECT count(*) FROM t',
    'BEGIN; COPY t FROM STDIN',
  ]);
  const rows = random.pick([
    '20\ttwenty\n',
    '21\tone\n22\ttwo\n',
    '1\tdup\n',
    'not a row\n',
    '',
    '23\n24\n',
    '25\tno newline',
    `26\t${'long '.repeat(3000)}\n`,
  ]);
  const cut = random.below(rows.length + 1);
  const data: Item[] = [
    { type: 'copy-data', text: rows.slice(0, cut) },
    ...(random.chance(0.3) ? [{ type: 'flush' } as const] : []),
    { type: 'copy-data', text: rows.slice(cut) },
    random.chance(0.8) ? { type: 'copy-done' } : { type: 'copy-fail', text: `enough ${session}` },
  ];
  if (random.chance(0.5))
    return [{ type: 'query', sql }, ...(random.chance(0.5) ? [{ type: 'wait' } as const] : []), ...data];
  const portal = random.pick(['', 'p1'] as const);
  return [
    { type: 'parse', name: '', sql: sql.split(';')[0] as string, oids: [] },
    { type: 'bind', portal, statement: '', formats: [], values: [], results: [] },
    { type: 'execute', portal, maxRows: 0 },
    ...(random.chance(0.5) ? ([{ type: random.pick(['sync', 'flush']) }] as Item[]) : []),
    ...(random.chance(0.3) ? ([{ type: 'flush' }, { type: 'wait' }] as Item[]) : []),
    ...data,
    { type: 'sync' },
  ];
}
