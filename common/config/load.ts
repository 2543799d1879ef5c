import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { parseDocument } from 'yaml';
import { ConfigError, type ConfigFault } from '../errors.ts';
import { deepFreeze } from './freeze.ts';
import { type ConfigField, configFields, isSecretName, parseFieldText } from './fields.ts';
import { checkRelations, type ConfigPart } from './relations.ts';
import { type LeaseholdConfig, leaseholdConfig } from './schema.ts';

export type { ConfigPart } from './relations.ts';

export interface ConfigInputs {
  /** Path of a YAML file; by default `LEASEHOLD_CONFIG`. */
  readonly file?: string | undefined;
  readonly env?: NodeJS.ProcessEnv;
  /** `path=value`, as given by `--set`. */
  readonly sets?: readonly string[];
  /** Named flags: path to value, with the flag's name for messages. */
  readonly flags?: readonly { readonly path: string; readonly value: unknown; readonly flag: string }[];
  /** Which parts this process needs; they must be there, and relations between their fields are checked. */
  readonly needs?: readonly ConfigPart[];
}

export interface LoadedConfig {
  readonly config: LeaseholdConfig;
  /** Where each given value came from; what is missing here is a default. */
  readonly sources: ReadonlyMap<string, string>;
  /** Things that are probably mistakes, such as an unknown `LEASEHOLD_` variable. */
  readonly warnings: readonly string[];
}

/**
 * Reads the configuration once: flags over environment over file over defaults, validated as a whole, frozen.
 * Throws `ConfigError` with every fault and where each value came from; values themselves are never in a message.
 */
export function loadConfig(inputs: ConfigInputs = {}): LoadedConfig {
  const env = inputs.env ?? process.env;
  const builder = new Builder();
  const file = inputs.file ?? env['LEASEHOLD_CONFIG'];
  if (file !== undefined && file !== '') builder.addFile(file);
  builder.addEnvironment(env);
  for (const set of inputs.sets ?? []) builder.addSet(set);
  for (const { path, value, flag } of inputs.flags ?? []) builder.put(path, value, flag);

  const parsed = leaseholdConfig.safeParse(builder.tree);
  const faults = [...builder.faults];
  if (!parsed.success) {
    for (const issue of parsed.error.issues) faults.push(...builder.faultsOf(issue));
  } else {
    for (const { path, message, missing } of checkRelations(parsed.data, inputs.needs ?? [])) {
      faults.push({ path, source: missing ? 'not given' : builder.sourceOf(path), message });
    }
  }
  if (faults.length > 0 || !parsed.success) throw new ConfigError(faults);
  return { config: deepFreeze(parsed.data), sources: builder.sources, warnings: builder.warnings };
}

/** The configuration for people: secrets replaced by `(secret)`. */
export function redactConfig(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(redactConfig);
  if (!isTree(value)) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, child]) => [key, isSecretName(key) ? redactSecret(child) : redactConfig(child)]),
  );
}

function redactSecret(value: unknown): unknown {
  if (!isTree(value)) return '(secret)';
  return Object.fromEntries(Object.keys(value).map((key) => [key, '(secret)']));
}

type Tree = Record<string, unknown>;

const FIELDS = configFields(leaseholdConfig);
const BY_PATH = new Map(FIELDS.map((field) => [field.path, field]));

/** Variables that are no part of the configuration. */
const OTHER_VARIABLES = new Set([
  'LEASEHOLD_CONFIG',
  'LEASEHOLD_API',
  'LEASEHOLD_DSN',
  'LEASEHOLD_LOG_LEVEL',
  'LEASEHOLD_PG_BIN',
  'LEASEHOLD_PG_LIB',
  'LEASEHOLD_ETCD_BIN',
  'LEASEHOLD_DIE_WITH_PARENT',
  'LEASEHOLD_IGNORE_SYSTEM',
  'LEASEHOLD_CACHE',
  'LEASEHOLD_REQUIRE',
  'LEASEHOLD_SUPERVISED',
]);

class Builder {
  readonly tree: Tree = {};
  readonly sources = new Map<string, string>();
  readonly faults: ConfigFault[] = [];
  readonly warnings: string[] = [];

  addFile(file: string): void {
    const document = this.#parseFile(file);
    if (document === null || document === undefined) return;
    if (!isTree(document)) {
      this.faults.push({
        path: '(file)',
        source: file,
        message: 'must be a mapping, such as "proxy:" with fields below',
      });
      return;
    }
    this.#addTree(document, '', file);
  }

  addEnvironment(env: NodeJS.ProcessEnv): void {
    const known = new Set<string>();
    for (const field of FIELDS) {
      const fileVariable = `${field.env}_FILE`;
      known.add(field.env).add(fileVariable);
      const text = env[field.env];
      const secretFile = field.secret ? env[fileVariable] : undefined;
      if (text !== undefined && secretFile !== undefined) {
        this.faults.push({ path: field.path, source: field.env, message: `is given by ${fileVariable} too; keep one` });
      }
      if (text !== undefined && text !== '') this.put(field.path, parseFieldText(field, text), field.env);
      else if (secretFile !== undefined) this.#putSecretFile(field, secretFile, fileVariable);
    }
    for (const name of Object.keys(env)) {
      if (name.startsWith('LEASEHOLD_') && !known.has(name) && !OTHER_VARIABLES.has(name)) {
        this.warnings.push(`the variable ${name} names no setting and is ignored`);
      }
    }
  }

  addSet(text: string): void {
    const equals = text.indexOf('=');
    const path = equals < 0 ? text : text.slice(0, equals);
    const source = `--set ${path}`;
    if (equals <= 0) {
      this.faults.push({ path, source, message: 'must be path=value, such as proxy.listen.port=6432' });
      return;
    }
    const value = text.slice(equals + 1);
    const field = BY_PATH.get(path);
    if (field !== undefined) this.put(path, parseFieldText(field, value), source);
    else if (!this.#putIfSecretFile(path, value, source)) this.put(path, value, source);
  }

  put(path: string, value: unknown, source: string): void {
    const keys = path.split('.');
    const last = keys.pop() as string;
    let node = this.tree;
    for (const key of keys) {
      const child = Object.hasOwn(node, key) ? node[key] : undefined;
      node = isTree(child) ? child : (define(node, key, {}) as Tree);
    }
    define(node, last, value);
    this.sources.set(path, source);
  }

  sourceOf(path: string): string {
    for (let prefix = path; prefix !== ''; prefix = prefix.slice(0, Math.max(0, prefix.lastIndexOf('.')))) {
      const source = this.sources.get(prefix);
      if (source !== undefined) return source;
    }
    return BY_PATH.has(path) ? 'default' : 'not given';
  }

  faultsOf(issue: { readonly path: PropertyKey[]; readonly message: string; readonly code: string }): ConfigFault[] {
    const path = issue.path.map(String).join('.');
    if (issue.code === 'unrecognized_keys' && 'keys' in issue) {
      return (issue.keys as string[]).map((key) => {
        const full = path === '' ? key : `${path}.${key}`;
        return { path: full, source: this.sourceOf(full), message: `unknown setting${suggestion(full)}` };
      });
    }
    const given = this.sources.has(path) || !issue.message.includes('received undefined');
    if (given) return [{ path, source: this.sourceOf(path), message: issue.message }];
    return [{ path, source: 'not given', message: 'is required' }];
  }

  #addTree(tree: Tree, prefix: string, source: string): void {
    for (const [key, value] of Object.entries(tree)) {
      const path = prefix === '' ? key : `${prefix}.${key}`;
      // An empty section (`proxy:` with nothing below) means "the defaults".
      if (value === null) continue;
      if (isTree(value) && Object.keys(value).length > 0) this.#addTree(value, path, source);
      else if (typeof value !== 'string' || !this.#putIfSecretFile(path, resolve(dirname(source), value), source)) {
        this.put(path, value, source);
      }
    }
  }

  #parseFile(file: string): unknown {
    try {
      const document = parseDocument(readFileSync(file, 'utf8'), { prettyErrors: true });
      for (const error of document.errors) {
        // Only the first line: the rest quotes the file, which may hold secrets.
        const where = error.linePos?.[0] === undefined ? '' : ` (line ${error.linePos[0].line})`;
        this.faults.push({ path: '(file)', source: file, message: `is not YAML: ${error.code}${where}` });
      }
      return document.errors.length > 0 ? null : document.toJS();
    } catch (error) {
      this.faults.push({ path: '(file)', source: file, message: `cannot be read: ${reasonOf(error)}` });
      return null;
    }
  }

  #putIfSecretFile(path: string, file: string, source: string): boolean {
    const field = path.endsWith('File') ? BY_PATH.get(path.slice(0, -'File'.length)) : undefined;
    if (field === undefined || !field.secret) return false;
    this.#putSecretFile(field, file, source);
    return true;
  }

  #putSecretFile(field: ConfigField, file: string, source: string): void {
    try {
      const text = readFileSync(file, 'utf8').replace(/\r?\n$/, '');
      this.put(field.path, parseFieldText(field, text), `${source} → ${file}`);
    } catch (error) {
      this.faults.push({ path: field.path, source, message: `${file} cannot be read: ${reasonOf(error)}` });
    }
  }
}

function reasonOf(error: unknown): string {
  const code = (error as NodeJS.ErrnoException).code;
  if (code === 'ENOENT') return 'there is no such file';
  if (code === 'EACCES') return 'permission denied';
  return code ?? 'unknown error';
}

function suggestion(path: string): string {
  const last = path.split('.').at(-1)?.toLowerCase() ?? '';
  const near = FIELDS.find((field) => {
    const name = field.path.split('.').at(-1)?.toLowerCase() ?? '';
    return name === last || (last.length > 3 && (name.startsWith(last) || last.startsWith(name)));
  });
  return near === undefined ? '' : `; did you mean ${near.path}?`;
}

/** Own property whatever the key is called: a file that says `__proto__` sets a (refused) field, not a prototype. */
function define(node: Tree, key: string, value: unknown): unknown {
  Object.defineProperty(node, key, { value, enumerable: true, configurable: true, writable: true });
  return value;
}

function isTree(value: unknown): value is Tree {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
