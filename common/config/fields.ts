import { z } from 'zod';

/**
 * The leaves of the configuration schema, so that environment names, flags and secrets follow from the schema
 * alone and can never disagree with it.
 */
export interface ConfigField {
  /** `proxy.listen.port` */
  readonly path: string;
  /** `LEASEHOLD_PROXY_LISTEN_PORT` */
  readonly env: string;
  readonly kind: 'string' | 'number' | 'boolean' | 'list' | 'json';
  /** Never printed; may be given by a file: `passwordFile`, `LEASEHOLD_…_PASSWORD_FILE`. */
  readonly secret: boolean;
}

const SECRET_NAMES = /(passwords?|token|dsn)$/i;

/** Every leaf of a schema made of objects, in the schema's order. */
export function configFields(schema: z.ZodType): readonly ConfigField[] {
  const fields: ConfigField[] = [];
  collect(schema, [], fields);
  return fields;
}

export function isSecretName(name: string): boolean {
  return SECRET_NAMES.test(name);
}

/** `proxy.pool.waitTimeoutMs` to `LEASEHOLD_PROXY_POOL_WAIT_TIMEOUT_MS`. */
export function envNameOf(path: string): string {
  const words = path.replaceAll(/([a-z0-9])([A-Z])/g, '$1_$2').replaceAll('.', '_');
  return `LEASEHOLD_${words.toUpperCase()}`;
}

/** A flag's or variable's text as the field's kind. Text that does not fit is left as it is: the schema says what is wrong. */
export function parseFieldText(field: ConfigField, text: string): unknown {
  switch (field.kind) {
    case 'string':
      return text;
    case 'number':
      return /^-?\d+(\.\d+)?$/.test(text.trim()) ? Number(text) : text;
    case 'boolean':
      return BOOLEANS.get(text.trim().toLowerCase()) ?? text;
    case 'list':
      return text.trim().startsWith('[') ? parseJson(text) : text.split(',').map((part) => part.trim());
    case 'json':
      return parseJson(text);
  }
}

const BOOLEANS = new Map([
  ['true', true],
  ['yes', true],
  ['on', true],
  ['1', true],
  ['false', false],
  ['no', false],
  ['off', false],
  ['0', false],
]);

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function collect(schema: z.ZodType, path: readonly string[], into: ConfigField[]): void {
  const bare = unwrap(schema);
  if (bare instanceof z.ZodObject) {
    for (const [key, child] of Object.entries(bare.shape)) collect(child as z.ZodType, [...path, key], into);
    return;
  }
  const joined = path.join('.');
  into.push({ path: joined, env: envNameOf(joined), kind: kindOf(bare), secret: isSecretName(path.at(-1) ?? '') });
}

function kindOf(schema: z.ZodType): ConfigField['kind'] {
  if (schema instanceof z.ZodNumber) return 'number';
  if (schema instanceof z.ZodBoolean) return 'boolean';
  if (schema instanceof z.ZodArray) return unwrap(schema.element as z.ZodType) instanceof z.ZodObject ? 'json' : 'list';
  if (schema instanceof z.ZodRecord) return 'json';
  return 'string';
}

function unwrap(schema: z.ZodType): z.ZodType {
  let current = schema;
  while (current instanceof z.ZodDefault || current instanceof z.ZodPrefault || current instanceof z.ZodOptional) {
    current = current.unwrap() as z.ZodType;
  }
  return current;
}
