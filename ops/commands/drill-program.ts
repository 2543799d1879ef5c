import { type Command, Option } from 'commander';
import type { DrillKind } from '../../common/config/drills.ts';
import type { DrillOptions } from './drill.ts';

/** How options are added and parsed; the command line's own. */
export interface ProgramHelpers {
  readonly withApi: (command: Command) => Command;
  readonly integer: (min: number, max: number) => (text: string) => number;
  readonly collect: (value: string, before: readonly string[]) => readonly string[];
}

const DOES: Readonly<Record<DrillKind, string>> = {
  switchover: 'a planned change of the leader: no client may see an error',
  crash: "kill the leader's PostgreSQL (SIGKILL)",
  freeze: "stop the leader's PostgreSQL, or its agent, for a while (SIGSTOP)",
  partition: "cut the leader's agent off from etcd for a while",
  etcd: 'cut every agent off from etcd for a while: writes are held, followers go on',
  lag: 'pause replay on a follower for a while: no session may read stale data',
  proxy: 'have a proxy send its clients away for a while: they come back through another',
};

const LASTS = new Set<DrillKind>(['freeze', 'partition', 'etcd', 'lag', 'proxy']);

const EXAMPLES = `
A drill is run by the proxy that is asked. A canary writes and reads through it all along, and every write is looked up at the end.
Ctrl-C aborts: before the fault nothing happens; a fault that lasts is ended. Faults end by their own timers, whatever becomes of this command.

Examples:
  leasehold drill switchover --dry-run           what would be done, what refuses it
  leasehold drill crash --html crash.html        and the report as a page
  leasehold drill partition --seconds 15 --yes
  leasehold drill crash --override recent,transactions
  leasehold drill list                           reports are kept in etcd, so that trends show`;

/** `leasehold drill …`. */
export function addDrills(program: Command, helpers: ProgramHelpers): void {
  const { withApi, integer, collect } = helpers;
  const drill = program
    .command('drill')
    .description('break something on purpose, and measure what an application sees')
    .addHelpText('after', EXAMPLES);
  for (const [kind, does] of Object.entries(DOES) as [DrillKind, string][]) {
    const command = withApi(drill.command(kind))
      .description(does)
      .option('--dry-run', 'only say what would be done, what is expected and what refuses it')
      .option('--override <guards>', 'run it although these guards refuse; with commas, or repeated', collect, [])
      .option('--dsn <url>', 'what the canary connects to, as the proxy sees it (LEASEHOLD_DSN; else its drills.dsn)')
      .option('--yes', 'do not ask')
      .option('--json', 'the report for programs')
      .option('--html <file>', 'write the report as a page, too');
    if (kind === 'switchover') command.option('--to <node>', 'who takes over (default: who is furthest)');
    if (kind === 'lag') command.option('--node <node>', 'which follower (default: the first in step)');
    if (kind === 'proxy')
      command.option('--proxy <id>', 'which proxy, not the one that is asked (default: another one)');
    if (LASTS.has(kind)) command.option('--seconds <n>', 'how long it lasts', integer(1, 300));
    if (kind === 'freeze') {
      command.addOption(
        new Option('--what <what>', 'what is stopped').choices(['postgres', 'agent']).default('postgres'),
      );
    }
    command.action(async (options: DrillOptions) => {
      process.exitCode = await (await import('./drill.ts')).drillCommand(kind, options);
      process.exit();
    });
  }
  withApi(drill.command('abort'))
    .description('end the drill that runs, whoever started it')
    .action(async (options) => (await import('./drill.ts')).drillAbortCommand(options));
  withApi(drill.command('list'))
    .description('the drills of this cluster that are kept, oldest first')
    .option('--json', 'for programs')
    .action(async (options) => (await import('./drill-reports.ts')).drillListCommand(options));
  withApi(drill.command('show <id>'))
    .description('one report')
    .option('--json', 'for programs')
    .option('--html <file>', 'write it as a page')
    .action(async (id: string, options) => (await import('./drill-reports.ts')).drillShowCommand(id, options));
}
