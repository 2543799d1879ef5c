/** What `node --cpu-prof` writes, as far as it is read here. https://chromedevtools.github.io/devtools-protocol/tot/Profiler/#type-Profile */
export interface CpuProfile {
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number };
    readonly children?: readonly number[];
  }[];
  readonly samples: readonly number[];
  /** µs between samples. */
  readonly timeDeltas: readonly number[];
}

export interface FunctionTime {
  readonly name: string;
  /** ms spent in the function itself, and with all that it called (counted once where it calls itself). */
  readonly selfMs: number;
  readonly totalMs: number;
}

/** Time by function, most of its own first; and the whole time that was not idle. */
export function summarise(profile: CpuProfile): {
  readonly busyMs: number;
  readonly functions: readonly FunctionTime[];
} {
  const self = new Map<number, number>();
  for (const [i, id] of profile.samples.entries()) {
    self.set(id, (self.get(id) ?? 0) + Math.max(0, profile.timeDeltas[i] ?? 0) / 1000);
  }
  const byId = new Map(profile.nodes.map((node) => [node.id, node]));
  const sums = new Map<string, { selfMs: number; totalMs: number }>();
  const visit = (id: number, path: ReadonlySet<string>): number => {
    const node = byId.get(id);
    if (node === undefined) return 0;
    const name = nameOf(node.callFrame);
    const inside = new Set(path).add(name);
    const own = self.get(id) ?? 0;
    let total = own;
    for (const child of node.children ?? []) total += visit(child, inside);
    const sum = sums.get(name) ?? { selfMs: 0, totalMs: 0 };
    sum.selfMs += own;
    if (!path.has(name)) sum.totalMs += total;
    sums.set(name, sum);
    return total;
  };
  const all = visit(profile.nodes[0]?.id ?? 0, new Set());
  const functions = [...sums].map(([name, sum]) => ({ name, ...sum })).sort((a, b) => b.selfMs - a.selfMs);
  return { busyMs: all - (sums.get('(idle)')?.selfMs ?? 0), functions };
}

function nameOf({ functionName, url, lineNumber }: CpuProfile['nodes'][number]['callFrame']): string {
  const file = url
    .replace(/^file:\/\//, '')
    .replace(/^.*\/(?=(proxy|common|replication-monitor|election|ops|node_modules)\/)/, '');
  const name = functionName === '' ? '(anonymous)' : functionName;
  return file === '' ? name : `${name} ${file}:${lineNumber + 1}`;
}
