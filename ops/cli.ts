import { enableCompileCache } from 'node:module';
import { Command, InvalidArgumentError, Option } from 'commander';
import { DEFAULT_API } from './commands/context.ts';
import { addDrills } from './commands/drill-program.ts';
import { EXIT, explain } from './commands/errors.ts';
import {
  ADOPT_HELP,
  CONFIG_SET_HELP,
  FORCED_EXAMPLES,
  PAUSE_HELP,
  SETTINGS,
  TOPICS,
  UP_EXAMPLES,
} from './commands/help.ts';
import { compileCacheFolder, packageVersion } from './paths.ts';

// The command line of Leasehold. Every command is a module of its own, loaded when it is called: an agent has no use
// for the code of a drill.
enableCompileCache(compileCacheFolder(process.env)); // a folder that cannot be written to is no error
await main(process.argv);

async function main(argv: readonly string[]): Promise<void> {
  process.stdout.on('error', onClosedPipe);
  try {
    await buildProgram().parseAsync(argv);
  } catch (error) {
    const { text, exitCode } = explain(error);
    if (text !== '') process.stderr.write(`${text}\n`);
    process.exitCode = exitCode;
  }
}

function buildProgram(): Command {
  const program = new Command('leasehold')
    .description('One connection string for a PostgreSQL cluster that survives its leader.')
    .version(packageVersion(), '-V, --version')
    .showHelpAfterError('(--help tells more)')
    .showSuggestionAfterError()
    .exitOverride((error) => process.exit(error.exitCode === 0 ? EXIT.ok : EXIT.usage));
  addUp(program);
  addLooking(program);
  addChanging(program);
  addDaemons(program);
  addConfig(program);
  return program.addHelpText('after', TOPICS);
}

function addUp(program: Command): void {
  program
    .command('up')
    .description('run a whole cluster on this machine: etcd, PostgreSQL nodes with their agents, a proxy')
    .option('--dir <folder>', 'where its data, secrets and logs are; they survive a restart', '.leasehold')
    .option('--nodes <n>', 'PostgreSQL nodes (default: those of the folder, else 3)', integer(1, 9))
    .option('--proxies <n>', 'proxies, on consecutive ports', integer(1, 9), 1)
    .option('--proxy-port <port>', 'where applications connect', integer(1, 65535), 6432)
    .option('--http-port <port>', 'status page, API, metrics', integer(1, 65535), 6480)
    .option('--ephemeral', 'in a temporary folder that is removed at the end', false)
    .option('--set <path=value>', 'a setting for its agents or proxies; may be repeated', collect, [])
    .addOption(
      new Option('--log <style>', 'the live log (default: pretty at a terminal, else json)').choices([
        'pretty',
        'json',
      ]),
    )
    .addHelpText('after', UP_EXAMPLES)
    .action(async (options) => {
      const { runUp } = await import('./local/up.ts');
      const { nodes = null, log = null, ...rest } = options;
      process.exit(await runUp({ nodes, log, ...rest }));
    });
}

function addLooking(program: Command): void {
  withApi(program.command('status'))
    .description('where every node stands: role, term, lag, freshness, held writes')
    .option('--json', 'everything, for programs')
    .addHelpText('after', '\nExamples:\n  leasehold status\n  leasehold status --json | jq .leader.node')
    .action(async (options) => (await import('./commands/status.ts')).statusCommand(options));
  withApi(program.command('monitor'))
    .description('the same, live: a table on a terminal, else one line a sample')
    .option('--interval <ms>', 'between two samples', integer(50, 3_600_000), 1000)
    .option('--count <n>', 'samples (default: until Ctrl-C)', integer(1, 1_000_000_000))
    .action(async (options) => (await import('./commands/monitor.ts')).monitorCommand(options));
  withApi(program.command('history'))
    .description('every change of the leader: when, from whom to whom, why')
    .option('--last <n>', 'only the last ones', integer(1, 1_000_000))
    .option('--json', 'for programs')
    .action(async (options) => (await import('./commands/history.ts')).historyCommand(options));
}

function addChanging(program: Command): void {
  withApi(program.command('switchover'))
    .description('a planned change of the leader: writes are held for a moment, no client sees an error')
    .option('--to <node>', 'which follower takes over (default: the one that is furthest)')
    .option('--timeout <s>', 'how long to wait for it', integer(1, 3600), 60)
    .addHelpText('after', '\nExamples:\n  leasehold switchover\n  leasehold switchover --to node2')
    .action(async (options) => (await import('./commands/switchover.ts')).switchoverCommand(options));
  withApi(program.command('failover'))
    .description('make the leader give up its lease at once; for when a switchover is refused')
    .option('--timeout <s>', 'how long to wait for the new leader', integer(1, 3600), 60)
    .option(
      '--allow-data-loss',
      'promote --node although acknowledged writes may be lost; only if nobody else can lead',
    )
    .option('--node <node>', 'who shall lead, with what it holds')
    .addHelpText('after', FORCED_EXAMPLES)
    .action(async (options) => (await import('./commands/failover.ts')).failoverCommand(options));
  withApi(program.command('pause'))
    .description('stop automatic failover, for maintenance: leadership moves only by switchover')
    .option('--reason <text>', 'what for; shown by status')
    .addHelpText('after', PAUSE_HELP)
    .action(async (options) => (await import('./commands/pause.ts')).pauseCommand(options));
  withApi(program.command('resume'))
    .description('end a pause: automatic failover is on again')
    .action(async (options) => (await import('./commands/pause.ts')).resumeCommand(options));
  withApi(program.command('reload'))
    .description(
      'make a proxy read its configuration again, as SIGHUP does: says what changed and what needs a restart',
    )
    .action(async (options) => (await import('./commands/reload.ts')).reloadCommand(options));
  withApi(program.command('drain'))
    .description('stop a proxy as SIGTERM does: no new clients, sessions end between two transactions')
    .action(async (options) => (await import('./commands/reload.ts')).drainCommand(options));
  addDrills(program, { withApi, integer, collect });
}

function addDaemons(program: Command): void {
  withConfig(program.command('agent'))
    .description('run the agent of one PostgreSQL server, which it starts, watches and stops')
    .option('--node <name>', 'setting agent.node')
    .option('--data-dir <folder>', 'setting agent.dataDir')
    .option('--port <port>', 'setting agent.listen.port: of PostgreSQL', integer(1, 65535))
    .addHelpText('after', `${SETTINGS}\nExample:\n  leasehold agent --config cluster.yaml --node node1`)
    .action(async (options) => (await import('./commands/agent.ts')).agentCommand(options));
  withConfig(program.command('adopt'))
    .description('prepare the stopped data of an existing PostgreSQL to be the first node of a new cluster')
    .option('--data-dir <folder>', 'setting agent.dataDir')
    .addHelpText('after', ADOPT_HELP)
    .action(async (options) => (await import('./commands/adopt.ts')).adoptCommand(options));
  withConfig(program.command('proxy'))
    .description('run a proxy: what applications connect to')
    .option('--id <name>', 'setting proxy.id: unique in the cluster')
    .option('--port <port>', 'setting proxy.listen.port', integer(0, 65535))
    .option('--http-port <port>', 'setting proxy.http.port', integer(0, 65535))
    .addHelpText('after', `${SETTINGS}\nExample:\n  leasehold proxy --config cluster.yaml --id proxy1`)
    .action(async (options) => (await import('./commands/proxy.ts')).proxyCommand(options));
}

function addConfig(program: Command): void {
  const config = program
    .command('config')
    .description('look at the configuration, and change what the whole cluster shares');
  withApi(config.command('show'))
    .description("the cluster's shared settings (in etcd), and what each node goes by")
    .option('--json', 'for programs')
    .action(async (options) => (await import('./commands/config-cluster.ts')).configShowCommand(options));
  withApi(config.command('set <name=value...>'))
    .description("set shared settings for every node at once; stronger than the nodes' files")
    .addHelpText('after', CONFIG_SET_HELP)
    .action(async (given, options) => (await import('./commands/config-cluster.ts')).configSetCommand(given, options));
  withApi(config.command('unset <name...>'))
    .description('take shared settings back: each node goes by its own file again')
    .action(async (names, options) =>
      (await import('./commands/config-cluster.ts')).configUnsetCommand(names, options),
    );
  withConfig(config.command('check'))
    .description('say everything that is wrong with it, or print it as it is in force (without secrets)')
    .addOption(new Option('--for <part>', 'check what this process needs, too').choices(['agent', 'proxy']))
    .option('--json', 'for programs')
    .addHelpText('after', `${SETTINGS}\nExample:\n  leasehold config check --config cluster.yaml --for agent`)
    .action(async (options) => (await import('./commands/config-check.ts')).configCheckCommand(options));
}

function withApi(command: Command): Command {
  return command
    .option('--api <url>', `a proxy's HTTP API (LEASEHOLD_API; default ${DEFAULT_API})`)
    .option('--config <file>', 'for cluster.apiToken; a local cluster of yours needs none');
}

function withConfig(command: Command): Command {
  return command
    .option('--config <file>', 'YAML file (LEASEHOLD_CONFIG)')
    .option('--set <path=value>', 'one setting; may be repeated', collect, []);
}

function collect(value: string, before: readonly string[]): readonly string[] {
  return [...before, value];
}

function integer(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (Number.isInteger(value) && value >= min && value <= max) return value;
    throw new InvalidArgumentError(`It must be a whole number from ${min} to ${max}.`);
  };
}

/** `leasehold status | head -1` is no error. */
function onClosedPipe(error: NodeJS.ErrnoException): void {
  if (error.code === 'EPIPE' && !process.argv.includes('up')) process.exit(EXIT.ok);
}
