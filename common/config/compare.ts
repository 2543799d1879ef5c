/** Every leaf of a configuration that differs, by path (`proxy.pool.size`), in order. Lists are one leaf. Never values. */
export function changedPaths(before: unknown, after: unknown, path = ''): string[] {
  if (isTree(before) && isTree(after)) {
    const names = [...new Set([...Object.keys(before), ...Object.keys(after)])];
    return names.flatMap((name) => {
      const [old, next] = [own(before, name), own(after, name)];
      return changedPaths(old, next, path === '' ? name : `${path}.${name}`);
    });
  }
  return JSON.stringify(before) === JSON.stringify(after) ? [] : [path];
}

function isTree(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function own(tree: Record<string, unknown>, name: string): unknown {
  return Object.hasOwn(tree, name) ? tree[name] : undefined;
}
