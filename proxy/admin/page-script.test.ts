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
  textContent = '';
  className = '';
  scope = '';
  hidden = false;
  readonly rows: FakeElement[] = [];
  readonly cells: FakeElement[] = [];
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

/** The page after each of these answers of `/status`; null: the proxy did not answer. */
async function shown(answers: readonly (StatusReport | null)[]) {
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
  const fetch = async (): Promise<unknown> => {
    const answer = remaining.shift() ?? null;
    if (answer === null) throw new Error('refused');
    return { ok: true, json: async () => ({ ...answer, pools: poolReports(exampleProviders()) }) };
  };
  const setTimeout = (callback: () => Promise<void>): void => {
    next = callback;
  };
  runInContext(PAGE_SCRIPT, createContext({ document, fetch, setTimeout, AbortSignal, Date, Math }));
  for (let i = 0; i < answers.length; i++) {
    await new Promise((resolve) => setImmediate(resolve));
    if (i < answers.length - 1) await (next as (() => Promise<void>) | null)?.();
  }
  const text = (id: string): string => elements.get(id)?.textContent ?? '';
  const cells = (id: string): string[][] =>
    (elements.get(id)?.rows ?? []).map((row) => row.cells.map((cell) => cell.textContent));
  return { document, text, cells, banner: elements.get('banner') };
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
