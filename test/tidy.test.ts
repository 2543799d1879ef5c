import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { test } from 'node:test';

/** What a linter cannot say of the house: file length, direction of imports, purity of the cores, dead files. */
const ROOT = resolve(import.meta.dirname, '..');
const LAYERS = ['common', 'election', 'replication-monitor', 'proxy', 'ops'];
const UNLAYERED = ['test', 'bench'];
/** Programs: what a person, npm, another process or the test runner starts. */
const ENTRY_POINTS = [
  /^ops\/cli\.ts$/,
  /-main\.ts$/,
  /^bench\/[^/]+\.ts$/,
  /^test\/(run|check|conformance\/run)\.ts$/,
  /^test\/simulation\/simulate\.ts$/,
];
const PURE = [
  /^election\/core\//,
  /^proxy\/sql\//,
  /^proxy\/routing\//,
  /^replication-monitor\/(?:freshness|settled)\.ts$/,
  /^election\/store\/(keys|records|port)\.ts$/,
  /^test\/torture\/(history|checker|plan)\.ts$/,
];
/** The one place in a pure folder that holds the WebAssembly parser, and the one that asks the server for its catalog. */
const IMPURE_BY_DESIGN = /^proxy\/sql\/(parser|catalog)\.ts$/;

interface Source {
  readonly path: string;
  readonly text: string;
  readonly imports: readonly string[];
}

const sources: readonly Source[] = [...LAYERS, ...UNLAYERED].flatMap((folder) => read(join(ROOT, folder)));

test('no file is longer than 300 lines', () => {
  const long = sources
    .filter((s) => s.text.split('\n').length > 301)
    .map((s) => `${s.path}: ${s.text.split('\n').length}`);
  assert.deepEqual(long, []);
});

test('imports run one way: common ← election ← replication-monitor ← proxy ← ops', () => {
  const wrong = sources.flatMap((source) => {
    // A test beside a file may borrow the helpers of test/.
    if (UNLAYERED.includes(folderOf(source.path)) || source.path.endsWith('.test.ts')) return [];
    const layer = LAYERS.indexOf(folderOf(source.path));
    return source.imports
      .filter((target) => {
        const other = LAYERS.indexOf(folderOf(target));
        return other < 0 || other > layer;
      })
      .map((target) => `${source.path} imports ${target}`);
  });
  assert.deepEqual(wrong, []);
});

test('the cores are pure: no clock, socket, file, environment, database, store or random number', () => {
  const forbiddenImports = /from '(node:(?!assert)[^']+|pg|etcd3|pino|prom-client)'/;
  const forbiddenGlobals =
    /\b(Date\.now|new Date|Math\.random|performance\.|process\.|setTimeout|setInterval|console\.)/;
  const wrong = sources
    .filter((s) => PURE.some((p) => p.test(s.path)) && !s.path.endsWith('.test.ts') && !IMPURE_BY_DESIGN.test(s.path))
    .filter((s) => forbiddenImports.test(s.text) || forbiddenGlobals.test(withoutComments(s.text)))
    .map((s) => s.path);
  assert.deepEqual(wrong, []);
});

test('no server that answers nonsense can end a proxy: its clients of the package pg are guarded', () => {
  const inProxy = (path: string) => /^(proxy|replication-monitor)\//.test(path) && !path.endsWith('.test.ts');
  const bare = sources.filter(
    ({ path, text }) => inProxy(path) && /new (pg\.)?Client\(/.test(text) && !text.includes('new GuardedSocket()'),
  );
  assert.deepEqual(
    bare.map(({ path }) => path),
    [],
  );
});

test('every file is reached from a program or a test', () => {
  const byPath = new Map(sources.map((s) => [s.path, s]));
  const reached = new Set<string>();
  const visit = (path: string): void => {
    if (reached.has(path)) return;
    reached.add(path);
    for (const target of byPath.get(path)?.imports ?? []) visit(target);
  };
  for (const s of sources) if (ENTRY_POINTS.some((p) => p.test(s.path)) || isTestRoot(s.path)) visit(s.path);
  assert.deepEqual(
    sources.map((s) => s.path).filter((path) => !reached.has(path)),
    [],
  );
});

test('a file that only its own test uses is dead', () => {
  const used = new Set(sources.filter((s) => !isTestRoot(s.path)).flatMap((s) => s.imports));
  const dead = sources
    .map((s) => s.path)
    .filter((path) => !UNLAYERED.includes(folderOf(path)) && !isTestRoot(path) && !used.has(path))
    .filter((path) => !ENTRY_POINTS.some((p) => p.test(path)));
  assert.deepEqual(dead, []);
});

test('nothing is left skipped, focused or unfinished', () => {
  const marks = /\b(TODO|FIXME|XXX|HACK)\b|\.only\(|\btest\.todo\(/;
  const wrong = sources.filter((s) => s.path !== 'test/tidy.test.ts' && marks.test(s.text)).map((s) => s.path);
  assert.deepEqual(wrong, []);
});

function isTestRoot(path: string): boolean {
  return path.endsWith('.test.ts');
}

function folderOf(path: string): string {
  return path.split('/')[0] ?? '';
}

function withoutComments(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/\/\/.*$/gm, '');
}

function read(folder: string): Source[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
    .map((entry) => {
      const absolute = join(entry.parentPath, entry.name);
      const text = readFileSync(absolute, 'utf8');
      const imports = [...text.matchAll(/(?:from|import\(|import|resolve\(|URL\()\s*'(\.{1,2}\/[^']+\.ts)'/g)].map(
        (match) => relative(ROOT, resolve(dirname(absolute), match[1] ?? '')),
      );
      return { path: relative(ROOT, absolute), text, imports };
    });
}
