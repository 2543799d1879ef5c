import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import type { Explained } from './compare.ts';

const schema = z.array(
  z.strictObject({
    suite: z.string().min(1),
    test: z.string().min(1),
    sides: z.array(z.enum(['transaction', 'session'])).min(1),
    postgres: z.array(z.number().int()).min(1).optional(),
    why: z.string().min(1),
    sometimes: z.boolean().optional(),
    detail: z.string().min(1).optional(),
    lines: z.array(z.string().regex(/^[-+]/)).min(1).optional(),
  }),
);

/** The differences that are known and explained, from the data file beside README.md. */
export function readExplained(): readonly Explained[] {
  return schema.parse(JSON.parse(readFileSync(join(import.meta.dirname, 'explained.json'), 'utf8')));
}

/** Those that are said of this major version of PostgreSQL. */
export function explainedOf(major: number, all: readonly Explained[]): readonly Explained[] {
  return all.filter(({ postgres }) => postgres === undefined || postgres.includes(major));
}
