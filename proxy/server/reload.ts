import { changedPaths } from '../../common/config/compare.ts';
import type { LiveConfig } from '../../common/config/live.ts';
import { deepFreeze } from '../../common/config/freeze.ts';
import { checkRelations } from '../../common/config/relations.ts';
import { type LeaseholdConfig, type ProxyConfig, proxyConfig } from '../../common/config/schema.ts';
import { ClientError, ConfigError, LeaseholdError } from '../../common/errors.ts';
import type { Logger } from '../../common/logger.ts';
import { AT_START, isReadAtStart } from '../admin/settings.ts';
import type { ReloadReport } from '../admin/types.ts';

export interface Reloader {
  /** Reads the configuration again. Throws ConfigError with every fault; then the one in force stays. */
  reload(): ReloadReport;
  /** One setting of `proxy`, until the next reload or restart (the console's SET). Throws ClientError 42704, 22023, 55P02. */
  set(path: string, text: string): void;
}

export interface ReloaderOptions {
  readonly started: LeaseholdConfig;
  readonly live: LiveConfig;
  /** Reads file, environment and flags again; null where the process was not started from such. */
  readonly load: (() => LeaseholdConfig) | null;
  /** What else can be wrong with a configuration: files that it names. Throws ConfigError. */
  readonly check?: (proxy: ProxyConfig) => void;
  readonly logger: Logger;
}

export function createReloader(options: ReloaderOptions): Reloader {
  const { started, live, load, logger } = options;
  return {
    reload() {
      if (load === null) throw new LeaseholdError('RELOAD', 'this proxy was started without a configuration to reread');
      let next: LeaseholdConfig;
      try {
        next = load();
        options.check?.(keepStarted(next.proxy, started.proxy));
      } catch (error) {
        const faults = error instanceof ConfigError ? error.faults : [];
        logger.error(
          { event: 'config.reload-refused', faults, error: String(error) },
          'the configuration has faults: the one in force stays',
        );
        throw error;
      }
      const asked = changedPaths(started, next);
      const needsRestart = asked.filter(isReadAtStart);
      const proxy = keepStarted(next.proxy, started.proxy);
      const changed = changedPaths(live.current, proxy, 'proxy');
      live.replace(proxy);
      logger.info({ event: 'config.reloaded', changed, needsRestart }, 'the configuration was read again');
      if (needsRestart.length > 0) {
        logger.warn({ event: 'config.needs-restart', settings: needsRestart }, 'some settings need a restart');
      }
      return { changed, needsRestart };
    },

    set(path, text) {
      const full = path.startsWith('proxy.') ? path : `proxy.${path}`;
      const proxy = withValue({ ...started, proxy: live.current }, full, text);
      try {
        options.check?.(proxy);
      } catch (error) {
        throw invalid(full, error instanceof Error ? error.message : String(error));
      }
      live.replace(proxy);
      logger.info({ event: 'config.set', setting: full }, 'a setting was changed until the next reload');
    },
  };
}

function keepStarted(next: ProxyConfig, started: ProxyConfig): ProxyConfig {
  const proxy: Record<string, unknown> = { ...next };
  for (const name of AT_START) {
    if (started[name] === undefined) delete proxy[name];
    else proxy[name] = started[name];
  }
  return deepFreeze(proxy as ProxyConfig);
}

/** The configuration with one leaf replaced; its text is read as what the leaf is now. */
function withValue(config: LeaseholdConfig, full: string, text: string): ProxyConfig {
  const names = full.split('.').slice(1);
  const copy = structuredClone(config.proxy) as Record<string, unknown>;
  let at: Record<string, unknown> = copy;
  for (const name of names.slice(0, -1)) {
    const below = Object.hasOwn(at, name) ? at[name] : undefined;
    if (typeof below !== 'object' || below === null || Array.isArray(below)) throw unknown(full);
    at = below as Record<string, unknown>;
  }
  const leaf = names.at(-1) ?? '';
  const old = Object.hasOwn(at, leaf) ? at[leaf] : undefined;
  if (old === undefined || (typeof old === 'object' && !Array.isArray(old))) throw unknown(full);
  if (isReadAtStart(full)) {
    throw new ClientError({ sqlState: '55P02', message: `the setting ${full} cannot be changed without a restart` });
  }
  at[leaf] = parse(old, text);
  const parsed = proxyConfig.safeParse(copy);
  if (!parsed.success) throw invalid(full, parsed.error.issues[0]?.message ?? 'refused');
  const [fault] = checkRelations({ ...config, proxy: parsed.data }, ['proxy']);
  if (fault !== undefined) throw invalid(full, `${fault.path} ${fault.message}`);
  return deepFreeze(parsed.data);
}

function parse(old: unknown, text: string): unknown {
  if (typeof old === 'number') return /^-?\d+(\.\d+)?$/.test(text) ? Number(text) : text;
  if (typeof old === 'boolean')
    return /^(on|true|yes|1)$/i.test(text) || (/^(off|false|no|0)$/i.test(text) ? false : text);
  if (Array.isArray(old)) return text === '' ? [] : text.split(',').map((part) => part.trim());
  return text;
}

function invalid(path: string, why: string): ClientError {
  return new ClientError({ sqlState: '22023', message: `invalid value for the setting ${path}: ${why}` });
}

function unknown(path: string): ClientError {
  return new ClientError({
    sqlState: '42704',
    message: `unrecognized setting "${path}"`,
    hint: 'SHOW CONFIG lists the settings.',
  });
}
