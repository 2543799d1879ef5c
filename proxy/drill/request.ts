import { z } from 'zod';
import { DRILL_KINDS, type DrillKind } from '../../common/config/drills.ts';
import { oneLine } from '../../common/one-line.ts';
import type { DrillRequest } from './types.ts';

const names = z.union([z.array(z.string()), z.string().transform((text) => text.split(','))]);

/** The body of `POST /drill/<kind>`. */
const requestBody = z.strictObject({
  dryRun: z.boolean().default(false),
  /** A node or proxy. */
  target: z.string().nullable().default(null),
  seconds: z.number().int().min(1).max(300).nullable().default(null),
  what: z.enum(['postgres', 'agent']).default('postgres'),
  override: names.default([]).transform((list) => list.map((name) => name.trim()).filter((name) => name !== '')),
  dsn: z.string().nullable().default(null),
  /** Who asks, for the report. */
  by: z.string().max(80).transform(oneLine).default('HTTP'),
});

export type ParsedRequest =
  | { readonly ok: true; readonly request: DrillRequest; readonly dryRun: boolean }
  | { readonly ok: false; readonly problem: string };

export function isDrillKind(text: string): text is DrillKind {
  return (DRILL_KINDS as readonly string[]).includes(text);
}

/** Pure. `problem` is for a person and never quotes a value: one of them is a password. */
export function parseDrillRequest(kind: DrillKind, body: unknown): ParsedRequest {
  const parsed = requestBody.safeParse(body);
  if (!parsed.success) {
    const problem = parsed.error.issues
      .map((issue) => `${issue.path.join('.') || 'body'}: ${issue.message}`)
      .join('; ');
    return { ok: false, problem };
  }
  const { dryRun, ...rest } = parsed.data;
  return { ok: true, request: { kind, ...rest }, dryRun };
}
