import { addressBytes, type AddressBytes, maskOf } from './addresses.ts';
import type { HbaFault, HbaLine, Token } from './hba-text.ts';
import { type NameToken, nameToken } from './names-match.ts';
import { type AuthMethod, type AuthRule, METHODS } from './policy.ts';

export type ConnectionType = 'local' | 'host' | 'hostssl' | 'hostnossl' | 'hostgssenc' | 'hostnogssenc';

export type RuleAddress =
  | { readonly kind: 'all' | 'samehost' | 'samenet' }
  | { readonly kind: 'range'; readonly base: AddressBytes; readonly mask: AddressBytes }
  | { readonly kind: 'name'; readonly name: string };

/** One line of pg_hba.conf. */
export interface HbaRule extends AuthRule {
  readonly type: ConnectionType;
  readonly databases: readonly NameToken[];
  readonly users: readonly NameToken[];
  readonly address: RuleAddress;
}

/** The line cannot be understood; the message is in PostgreSQL's words where it has some. */
export class HbaError extends Error {}

/** Throws HbaError (parse_hba_line of hba.c). */
export function parseHbaLine(line: HbaLine): HbaRule {
  const fields = new Fields(line);
  const type = connectionType(fields.single('connection type', 'connection type'));
  const databases = fields.list('database').map(named);
  const users = fields.list('role').map(named);
  const address = type === 'local' ? ({ kind: 'all' } as const) : ruleAddress(fields);
  const method = authMethod(fields.single('authentication method', 'authentication type'), type);
  const options = new Map<string, string>();
  for (const token of fields.rest()) {
    const equals = token.text.indexOf('=');
    if (equals < 0) throw new HbaError(`authentication option not in name=value format: ${token.text}`);
    options.set(token.text.slice(0, equals), token.text.slice(equals + 1));
  }
  return { type, databases, users, address, method, ...ruleOptions(options, type, method) };
}

/** Every rule of the lines, or every fault. */
export function parseAll<T>(
  lines: readonly HbaLine[],
  parse: (line: HbaLine) => T,
): { rules: T[]; faults: HbaFault[] } {
  const rules: T[] = [];
  const faults: HbaFault[] = [];
  for (const line of lines) {
    try {
      rules.push(parse(line));
    } catch (error) {
      if (!(error instanceof HbaError)) throw error;
      faults.push({ file: line.file, line: line.line, message: error.message });
    }
  }
  return { rules, faults };
}

/** Takes the fields of a line, one after the other. */
export class Fields {
  readonly #line: HbaLine;
  #at = 0;

  constructor(line: HbaLine) {
    this.#line = line;
  }

  list(what: string): readonly Token[] {
    const field = this.#line.fields[this.#at++];
    if (field === undefined) throw new HbaError(`end-of-line before ${what} specification`);
    return field;
  }

  single(missing: string, what: string): Token {
    const field = this.#line.fields[this.#at++];
    if (field === undefined) throw new HbaError(`end-of-line before ${missing}`);
    if (field.length > 1) throw new HbaError(`multiple values specified for ${what}`);
    return field[0] as Token;
  }

  rest(): readonly Token[] {
    return this.#line.fields.slice(this.#at).flat();
  }
}

export function named(token: Token): NameToken {
  try {
    return nameToken(token);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new HbaError(`invalid regular expression "${token.text.slice(1)}": ${why}`);
  }
}

const TYPES: readonly ConnectionType[] = ['local', 'host', 'hostssl', 'hostnossl', 'hostgssenc', 'hostnogssenc'];

function connectionType({ text }: Token): ConnectionType {
  const type = TYPES.find((each) => each === text);
  if (type === undefined) throw new HbaError(`invalid connection type "${text}"`);
  return type;
}

function ruleAddress(fields: Fields): RuleAddress {
  const token = fields.single('IP address specification', 'host address');
  const { text, quoted } = token;
  if (!quoted && (text === 'all' || text === 'samehost' || text === 'samenet')) return { kind: text };
  const slash = text.indexOf('/');
  const base = addressBytes(slash < 0 ? text : text.slice(0, slash));
  if (slash >= 0) {
    const bits = text.slice(slash + 1);
    if (base === null) throw new HbaError(`specifying both host name and CIDR mask is invalid: "${text}"`);
    if (!/^\d{1,3}$/.test(bits) || Number(bits) > base.length * 8) {
      throw new HbaError(`invalid CIDR mask in address "${text}"`);
    }
    return { kind: 'range', base, mask: maskOf(Number(bits), base.length) };
  }
  if (base === null) {
    if (!/^[A-Za-z0-9._-]+$/.test(text)) throw new HbaError(`invalid IP address "${text}"`);
    return { kind: 'name', name: text };
  }
  const mask = fields.single('netmask specification', 'netmask');
  const bytes = addressBytes(mask.text);
  if (bytes === null) throw new HbaError(`invalid IP mask "${mask.text}"`);
  if (bytes.length !== base.length) throw new HbaError('IP address and mask do not match');
  return { kind: 'range', base, mask: bytes };
}

/** What PostgreSQL has and a proxy cannot do, or does not. */
const OTHER_METHODS = ['peer', 'ident', 'gss', 'sspi', 'pam', 'bsd', 'ldap', 'radius', 'oauth'];

function authMethod({ text }: Token, type: ConnectionType): AuthMethod {
  if (OTHER_METHODS.includes(text)) {
    throw new HbaError(`authentication method "${text}" is not supported by the proxy; it has ${METHODS.join(', ')}`);
  }
  const method = METHODS.find((each) => each === text);
  if (method === undefined) throw new HbaError(`invalid authentication method "${text}"`);
  if (method === 'cert' && type !== 'hostssl') {
    throw new HbaError('cert authentication is only supported on hostssl connections');
  }
  return method;
}

function ruleOptions(
  options: ReadonlyMap<string, string>,
  type: ConnectionType,
  method: AuthMethod,
): Omit<AuthRule, 'method'> {
  let clientCert: AuthRule['clientCert'] = method === 'cert' ? 'verify-full' : 'off';
  let clientName: AuthRule['clientName'] = 'CN';
  let map: string | null = null;
  for (const [name, value] of options) {
    if (name === 'clientcert') {
      if (type !== 'hostssl') throw new HbaError('clientcert can only be configured for "hostssl" rows');
      if (value !== 'verify-ca' && value !== 'verify-full')
        throw new HbaError(`invalid value for clientcert: "${value}"`);
      if (method === 'cert' && value === 'verify-ca') {
        throw new HbaError('clientcert only accepts "verify-full" when using "cert" authentication');
      }
      clientCert = value;
    } else if (name === 'clientname') {
      if (type !== 'hostssl') throw new HbaError('clientname can only be configured for "hostssl" rows');
      if (value !== 'CN' && value !== 'DN') throw new HbaError(`invalid value for clientname: "${value}"`);
      clientName = value;
    } else if (name === 'map') {
      if (method !== 'cert')
        throw new HbaError('authentication option "map" is only valid for authentication method cert');
      map = value;
    } else throw new HbaError(`unrecognized authentication option name: "${name}"`);
  }
  return { clientCert, clientName, map };
}
