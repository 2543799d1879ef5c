import { flushCompileCache } from 'node:module';
import { type ConfigInputs, type ConfigPart, loadConfig } from '../../common/config/load.ts';
import type { LeaseholdConfig } from '../../common/config/schema.ts';
import { createLogger, type Logger } from '../../common/logger.ts';

export interface DaemonOptions {
  readonly config?: string;
  readonly set?: readonly string[];
}

/** When everything that a start needs has been loaded. */
const FLUSH_AFTER_MS = 5000;
/** A process that outlives its orderly stop by this much is ended: its watchdog, or its peers, do the rest. */
const STOP_LIMIT_MS = 25_000;
/** Below `leasehold up`, whose death we noticed: nobody waits for an orderly end, and nothing may stay behind. */
const ORPHAN_LIMIT_MS = 6000;

/** What a process does besides running. */
export interface DaemonHooks {
  /** Reads the configuration again, as at the start. Throws ConfigError. */
  readonly load: () => LeaseholdConfig;
  /** What SIGHUP is to do from now on. */
  onHangup(listener: () => void): void;
  /** How long an orderly stop may take besides what is allowed to every process. */
  stopTakes(extraMs: () => number): void;
}

/** `leasehold agent` and `leasehold proxy`: configuration, log, signals; then the process itself. */
export async function runDaemon(
  part: ConfigPart,
  options: DaemonOptions,
  flags: readonly { readonly path: string; readonly value: unknown; readonly flag: string }[],
  run: (config: LeaseholdConfig, logger: Logger, signal: AbortSignal, hooks: DaemonHooks) => Promise<void>,
): Promise<void> {
  const inputs: ConfigInputs = {
    file: options.config,
    sets: options.set ?? [],
    flags: flags.filter(({ value }) => value !== undefined),
    needs: [part],
  };
  const { config, warnings } = loadConfig(inputs);
  const name = part === 'agent' ? (config.agent?.node ?? part) : config.proxy.id;
  const logger = createLogger(name);
  for (const warning of warnings) logger.warn({ event: 'config.warning' }, warning);
  // Whoever read our log is gone: what matters here goes on without it.
  process.stdout.on('error', () => {});
  process.stderr.on('error', () => {});

  const controller = new AbortController();
  const stop = (limitMs: number, why: string) => {
    if (controller.signal.aborted) return;
    controller.abort(new Error(why));
    setTimeout(() => {
      logger.error({ event: 'stop.overdue', limitMs }, 'did not stop in time, ending at once');
      process.exit(1);
    }, limitMs).unref();
  };
  let extraMs = (): number => 0;
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.on(signal, () => stop(STOP_LIMIT_MS + extraMs(), signal));
  let onHangup = (): void => {
    logger.info({ event: 'config.not-reloadable' }, 'SIGHUP: settings are read when this process starts; restart it');
  };
  process.on('SIGHUP', () => onHangup());
  if (process.channel !== undefined && process.channel !== null) {
    process.on('disconnect', () => stop(ORPHAN_LIMIT_MS, 'the parent process is gone'));
    process.channel.unref();
  }
  // Written at an orderly exit otherwise, which a process like this one may not come to.
  setTimeout(() => flushCompileCache(), FLUSH_AFTER_MS).unref();
  await run(config, logger, controller.signal, {
    load: () => loadConfig(inputs).config,
    onHangup: (listener) => {
      onHangup = listener;
    },
    stopTakes: (more) => {
      extraMs = more;
    },
  });
  // Whatever timer or socket is still open belongs to nobody now.
  process.exit(0);
}
