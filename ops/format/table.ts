/** Columns as wide as their widest cell; numbers to the right. An empty cell is shown as `-`. */
export function formatTable(
  columns: readonly string[],
  rows: readonly (readonly (string | number | null | undefined)[])[],
): string {
  const cells = rows.map((row) =>
    columns.map((_, index) => {
      const value = row[index];
      return value === null || value === undefined || value === '' ? '-' : String(value);
    }),
  );
  const isNumeric = columns.map(
    (_, index) => cells.length > 0 && cells.every((row) => /^[-\d.,]+( ?[a-zA-Z]{1,3})?$/.test(row[index] ?? '')),
  );
  const widths = columns.map((title, index) => Math.max(title.length, ...cells.map((row) => row[index]?.length ?? 0)));
  const line = (row: readonly string[]) =>
    row
      .map((cell, index) => (isNumeric[index] ? cell.padStart(widths[index] ?? 0) : cell.padEnd(widths[index] ?? 0)))
      .join('  ')
      .trimEnd();
  return [line(columns), widths.map((width) => '─'.repeat(width)).join('  '), ...cells.map(line)].join('\n');
}

/** `1234567` to `1.2 MB`; powers of 1024, as PostgreSQL's pg_size_pretty. */
export function formatBytes(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let value = bytes;
  let unit = 0;
  while (Math.abs(value) >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}

/** `850` to `850 ms`, `12500` to `12.5 s`. */
export function formatMs(ms: number): string {
  if (ms < 10) return `${ms.toFixed(1)} ms`;
  return ms < 10_000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
}
