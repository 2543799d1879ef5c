import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { dirname, resolve } from 'node:path';
import type { ProxyConfig } from '../../common/config/schema.ts';
import { ConfigError, type ConfigFault } from '../../common/errors.ts';
import { findRule, type Interfaces } from './hba-match.ts';
import { type HbaRule, parseAll, parseHbaLine } from './hba-rules.ts';
import { type HbaFault, type HbaFiles, type HbaText, readHbaText } from './hba-text.ts';
import { isMapped, parseIdentLine } from './ident-map.ts';
import { type AuthPolicy, DEFAULT_POLICY } from './policy.ts';

/**
 * Reads the rules and the user maps. Throws ConfigError with every fault of every file, each with its line. Notes in `seen` every
 * file that was read or looked for, also when it throws.
 */
export function loadPolicy(proxy: ProxyConfig, seen: Set<string>): AuthPolicy {
  const { hbaFile, hba, identFile, ident, passwords } = proxy.auth;
  const files = new RealFiles(seen);
  const rulesText = textOf('proxy.auth.hba', hbaFile, hba, files);
  const identText = textOf('proxy.auth.ident', identFile, ident, files);
  const rules = parseAll(rulesText?.lines ?? [], parseHbaLine);
  const maps = parseAll(identText?.lines ?? [], parseIdentLine);
  const faults: HbaFault[] = [
    ...(rulesText?.faults ?? []),
    ...rules.faults,
    ...certificateFaults(rules.rules, rulesText, proxy),
    ...(identText?.faults ?? []),
    ...maps.faults,
  ];
  if (rulesText !== null && faults.length === 0 && rules.rules.length === 0) {
    faults.push({ file: hbaFile ?? 'proxy.auth.hba', line: 1, message: 'contains no entries: nobody could log in' });
  }
  if (faults.length > 0) throw new ConfigError(faults.map(configFault));
  return {
    ruleFor:
      rulesText === null
        ? (facts, questions) => DEFAULT_POLICY.ruleFor(facts, questions)
        : (facts, questions) => findRule(rules.rules, facts, questions, ownAddresses),
    allows: (map, systemUser, user, questions) => isMapped(maps.rules, map, systemUser, user, questions),
    passwordOf: (user) => (Object.hasOwn(passwords, user) ? (passwords[user] ?? null) : null),
  };
}

function textOf(
  setting: string,
  file: string | undefined,
  lines: readonly string[] | undefined,
  files: HbaFiles,
): HbaText | null {
  if (file === undefined && lines === undefined) return null;
  if (file === undefined) return readHbaText(setting, (lines ?? []).join('\n'), files);
  try {
    return readHbaText(resolve(file), files.read(resolve(file)), files);
  } catch (error) {
    throw new ConfigError([{ path: `${setting}File`, source: file, message: reasonOf(error) }]);
  }
}

/** Rules that could let nobody in, since clients are never asked for a certificate. */
function certificateFaults(rules: readonly HbaRule[], text: HbaText | null, proxy: ProxyConfig): HbaFault[] {
  if (proxy.tls?.clientCaFile !== undefined || text === null || rules.length !== text.lines.length) return [];
  return rules.flatMap(({ clientCert }, index) => {
    const { file, line } = text.lines[index] as HbaText['lines'][number];
    const message = 'client certificates can only be checked where proxy.tls.clientCaFile is set';
    return clientCert === 'off' ? [] : [{ file, line, message }];
  });
}

function configFault({ file, line, message }: HbaFault): ConfigFault {
  return { path: 'proxy.auth', source: `${file} line ${line}`, message };
}

class RealFiles implements HbaFiles {
  readonly seen: Set<string>;

  constructor(seen: Set<string>) {
    this.seen = seen;
  }

  read(path: string): string {
    this.seen.add(path);
    try {
      return readFileSync(path, 'utf8');
    } catch (error) {
      throw new Error(reasonOf(error), { cause: error });
    }
  }

  list(folder: string): readonly string[] {
    this.seen.add(folder);
    return readdirSync(folder);
  }

  resolve(from: string, path: string): string {
    return resolve(dirname(from), path);
  }

  exists(path: string): boolean {
    this.seen.add(path);
    return existsSync(path);
  }
}

const ownAddresses: Interfaces = () => Object.values(networkInterfaces()).flatMap((each) => each ?? []);

function reasonOf(error: unknown): string {
  const code = (error as NodeJS.ErrnoException).code;
  if (code === 'ENOENT') return 'there is no such file';
  if (code === 'EACCES') return 'permission denied';
  return error instanceof Error ? error.message : String(error);
}
