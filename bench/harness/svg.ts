/** Bars in groups: one for each side of each cell. */
export interface Bars {
  readonly title: string;
  readonly unit: string;
  readonly groups: readonly {
    readonly name: string;
    readonly bars: readonly {
      readonly name: string;
      readonly value: number;
      readonly least: number;
      readonly most: number;
    }[];
  }[];
}

const WIDTH = 880;
const LABELS = 250;
const BAR = 16;
const GAP = 14;
const COLOURS = ['#5b6b7b', '#c2703d', '#a98f2f', '#7d5ba6', '#3d7ec2', '#2f9e6e', '#1f7a8c', '#b0413e'];

/** A plain picture: no script, no style sheet, the system's own letters. A line on each bar goes from the least to the most. */
export function barChart({ title, unit, groups }: Bars): string {
  const most = Math.max(1e-9, ...groups.flatMap(({ bars }) => bars.map((bar) => bar.most)));
  const scale = (value: number): number => (value / most) * (WIDTH - LABELS - 110);
  const names = [...new Set(groups.flatMap(({ bars }) => bars.map(({ name }) => name)))];
  const parts: string[] = [];
  let y = 46;
  for (const group of groups) {
    parts.push(text(10, y, group.name, 'font-weight="bold"'));
    y += 8;
    for (const { name, value, least, most: high } of group.bars) {
      const colour = COLOURS[names.indexOf(name) % COLOURS.length] ?? '';
      const middle = y + BAR / 2;
      parts.push(text(LABELS - 8, middle + 4, name, 'text-anchor="end"'));
      parts.push(`<rect x="${LABELS}" y="${y}" width="${round(scale(value))}" height="${BAR - 2}" fill="${colour}"/>`);
      parts.push(line(LABELS + scale(least), LABELS + scale(high), middle - 1));
      parts.push(text(LABELS + scale(high) + 6, middle + 4, shown(value), ''));
      y += BAR;
    }
    y += GAP + 10;
  }
  const head = `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${y}" font-family="sans-serif" font-size="12">`;
  const ground = `<rect width="${WIDTH}" height="${y}" fill="#ffffff"/>`;
  return `${[head, ground, text(10, 20, `${title} (${unit})`, 'font-size="15"'), ...parts].join('\n')}\n</svg>\n`;
}

function text(x: number, y: number, content: string, attributes: string): string {
  const space = attributes === '' ? '' : ' ';
  return `<text x="${round(x)}" y="${round(y)}" fill="#1c2833"${space}${attributes}>${escaped(content)}</text>`;
}

function line(from: number, to: number, y: number): string {
  return `<line x1="${round(from)}" y1="${y}" x2="${round(to)}" y2="${y}" stroke="#1c2833"/>`;
}

function shown(value: number): string {
  return value >= 100 ? Math.round(value).toLocaleString('en') : value.toPrecision(3);
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}

function escaped(content: string): string {
  return content.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
