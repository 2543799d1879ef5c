import { stringify } from 'yaml';
import { type ConfigPart, loadConfig, redactConfig } from '../../common/config/load.ts';
import { loadAuth } from '../../proxy/server/live-auth.ts';
import { print } from './context.ts';

export interface ConfigCheckOptions {
  readonly config?: string;
  readonly set?: readonly string[];
  readonly for?: ConfigPart;
  readonly json?: boolean;
}

/**
 * Prints the configuration in force and where each given value came from; faults are thrown, all at once. For a proxy the files that
 * say who may log in are checked too.
 */
export function configCheckCommand(options: ConfigCheckOptions): void {
  const { config, sources, warnings } = loadConfig({
    file: options.config,
    sets: options.set ?? [],
    needs: options.for === undefined ? [] : [options.for],
  });
  // What a proxy reads of them when it starts: certificates, rules, maps.
  if (options.for === 'proxy') loadAuth(config.proxy);
  for (const warning of warnings) process.stderr.write(`warning: ${warning}\n`);
  const shown = redactConfig(config);
  if (options.json) {
    print(JSON.stringify({ config: shown, sources: Object.fromEntries(sources) }, null, 2));
    return;
  }
  print(stringify(shown).trimEnd());
  print('');
  for (const [path, source] of sources) print(`# ${path} from ${source}`);
  print('# everything else is a default; the configuration is valid');
}
