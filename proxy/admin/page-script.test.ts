import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createContext, runInContext } from 'node:vm';
import { exampleProviders, exampleStatus } from '../../test/support/proxy-status.ts';
import { PAGE } from './page.ts';
import { PAGE_SCRIPT } from './page-script.ts';
import { poolReports } from './pool-reports.ts';
import { buildStatus, type StatusReport } from './status.ts';

/** As much of a browser's element as the page uses. */
class FakeElement {
  #text = '';
  #href: string | null = null;
  className = '';
  scope = '';
  hidden = false;
  readonly rows: FakeElement[] = [];
  readonly cells: FakeElement[] = [];
  get textContent(): string {
    return this.#text + this.cells.map((cell) => cell.textContent).join('');
  }
  set textContent(text: string) {
    this.#text = text;
  }
  get firstElementChild(): FakeElement | null {
    return this.cells[0] ?? null;
  }
  getAttribute(): string | null {
    return this.#href;
  }
  setAttribute(_name: string, value: string): void {
    this.#href = value;
  }
  insertRow(): FakeElement {
    const row = new FakeElement();
    this.rows.push(row);
    return row;
  }
  deleteRow(): void {
    this.rows.pop();
  }
  append(cell: FakeElement): void {
    this.cells.push(cell);
  }
}

const NO_DRILL = { '/drills/now': { running: null, lines: [] }, '/drills': { drills: [] } };

/** The page after each of these answers of `/status`; null: the proxy did not answer. `others` answers other paths. */
async function shown(answers: readonly (StatusReport | null)[], others: Record<string, unknown> = NO_DRILL) {
  const elements = new Map<string, FakeElement>();
  const document = {
    title: '',
    createElement: () => new FakeElement(),
    getElementById(id: string) {
      assert.ok(PAGE.includes(`id="${id}"`), `the page has no element ${id}`);
      const element = elements.get(id) ?? new FakeElement();
      elements.set(id, element);
      return element;
    },
  };
  let next: (() => Promise<void>) | null = null;
  const remaining = [...answers];
  const fetch = async (path: string): Promise<unknown> => {
    if (path !== '/status') return { ok: others[path] !== undefined, status: 503, json: async () => others[path] };
    const answer = remaining.shift() ?? null;
    if (answer === null) throw new Error('refused');
    return { ok: true, json: async () => ({ ...answer, pools: poolReports(exampleProviders()) }) };
  };
  const setTimeout = (callback: () => Promise<void>): void => {
    if (callback.name === 'poll') next = callback;
  };
  runInContext(PAGE_SCRIPT, createContext({ document, fetch, setTimeout, AbortSignal, Date, Math }));
  for (let i = 0; i < answers.length; i++) {
    await new Promise((resolve) => setImmediate(resolve));
    if (i < answers.length - 1) await (next as (() => Promise<void>) | null)?.();
  }
  for (let i = 0; i < 3; i++) await new Promise((resolve) => setImmediate(resolve));
  const text = (id: string): string => elements.get(id)?.textContent ?? '';
  const cells = (id: string): string[][] =>
    (elements.get(id)?.rows ?? []).map((row) => row.cells.map((cell) => cell.textContent));
  const link = (id: string): string | null =>
    elements.get(id)?.rows[0]?.cells[0]?.firstElementChild?.getAttribute() ?? null;
  return { document, text, cells, link, elements, banner: elements.get('banner') };
}

test('the page shows nodes, roles, lag, freshness and held writes', async () => {
  const page = await shown([buildStatus(exampleStatus())]);
  assert.deepEqual(page.cells('nodes')[0]?.slice(0, 6), [
    'node1',
    'leader',
    'LEADER_OPEN',
    'when needed',
    '0 B',
    'now',
  ]);
  assert.deepEqual(page.cells('nodes')[1]?.slice(0, 6), ['node2', 'follower', 'FOLLOWER', 'yes', '2.0 kB', '300 ms']);
  assert.deepEqual(page.cells('nodes')[2]?.slice(0, 6), ['node3', 'none', 'GONE', 'no', '–', '–']);
  assert.deepEqual(page.cells('proxies')[0], ['proxy1', '127.0.0.1:6432', '2', '1', '5 of 100', 'serving']);
  assert.deepEqual(page.cells('pools'), [['app', 'app', '4', '3', '12 ms', '4', '6', '0', 'open']]);
  assert.equal(page.text('term'), '7');
});

test('while writes are held the page says so, in the title too', async () => {
  const { view } = exampleStatus();
  const held = { ...view, route: view.route === null ? null : { ...view.route, hold: true } };
  const page = await shown([buildStatus(exampleStatus({ leader: null, view: held }))]);
  assert.equal(page.banner?.className, 'bad');
  assert.match(
    page.banner?.textContent ?? '',
    /^Writes are held: a new leader is being made ready\. 5 writes are held/,
  );
  assert.match(page.document.title, /^● held/);
});

test('a proxy that drains or is paused says so first', async () => {
  const draining = await shown([buildStatus(exampleStatus({ draining: true }))]);
  assert.match(draining.banner?.textContent ?? '', /^This proxy is stopping/);
  const paused = await shown([buildStatus(exampleStatus({ paused: true }))]);
  assert.match(paused.banner?.textContent ?? '', /^An operator has paused a database/);
});

test('when the proxy stops answering the page says how old it is, and a node that left leaves the table', async () => {
  const { view, freshness } = exampleStatus();
  const fewer = exampleStatus({
    view: { ...view, members: new Map([...view.members].slice(0, 1)) },
    freshness: { ...freshness, nodes: new Map() },
  });
  const page = await shown([buildStatus(exampleStatus()), buildStatus(fewer), null]);
  assert.equal(page.cells('nodes').length, 1);
  assert.match(page.banner?.textContent ?? '', /does not answer for 0 s/);
  assert.equal(page.text('seen'), 'not live');
});

const DRILL = {
  id: '20261124-170443-crash-0a46',
  kind: 'crash',
  outcome: 'passed',
  startedAt: '2026-11-24T17:04:43.000Z',
  target: 'node2',
  leaderBefore: 'node2',
  leaderAfter: 'node1',
  writeStallMs: 425,
  predictedMs: 300,
  readStallMs: 368,
  acknowledged: 400,
  missing: 0,
};

test('the page shows the last drills, each with its report', async () => {
  const page = await shown([buildStatus(exampleStatus())], { ...NO_DRILL, '/drills': { drills: [DRILL] } });
  const began = '2026-11-24 17:04';
  const figures = ['425 ms', '300 ms', '368 ms', '400', '0'];
  assert.deepEqual(page.cells('drills'), [[began, 'crash', 'node2', 'passed', ...figures, 'node2 → node1']]);
  assert.equal(page.link('drills'), '/drills/20261124-170443-crash-0a46.html');
  assert.equal(page.elements.get('no-drills')?.hidden, true);
  assert.equal(page.elements.get('drill-now')?.hidden, true);
});

test('a drill that runs is shown with its steps, or with the proxy that has them', async () => {
  const running = {
    id: 'x',
    kind: 'lag',
    proxy: 'proxy2',
    by: 'root',
    startedAt: new Date().toISOString(),
    abort: true,
  };
  const here = await shown([buildStatus(exampleStatus())], {
    ...NO_DRILL,
    '/drills/now': { running, lines: ['now: pauses replay', 'writes go on'] },
  });
  assert.equal(here.elements.get('drill-now')?.hidden, false);
  assert.match(here.text('drill-title'), /lag, for \d s, by root, on proxy2, asked to end/);
  assert.equal(here.text('drill-steps'), 'now: pauses replay\nwrites go on');
  const elsewhere = await shown([buildStatus(exampleStatus())], { ...NO_DRILL, '/drills/now': { running, lines: [] } });
  assert.match(elsewhere.text('drill-steps'), /on the page of proxy2/);
});

test('where drills cannot be read the page says so, and shows the rest', async () => {
  const page = await shown([buildStatus(exampleStatus())], {});
  assert.match(page.text('no-drills'), /cannot be read now/);
  assert.equal(page.text('term'), '7');
});
