import { type DaemonOptions, runDaemon } from './daemon.ts';

export interface AgentOptions extends DaemonOptions {
  readonly node?: string;
  readonly dataDir?: string;
  readonly port?: number;
}

export async function agentCommand(options: AgentOptions): Promise<void> {
  const flags = [
    { path: 'agent.node', value: options.node, flag: '--node' },
    { path: 'agent.dataDir', value: options.dataDir, flag: '--data-dir' },
    { path: 'agent.listen.port', value: options.port, flag: '--port' },
  ];
  const { runAgent } = await import('../../election/run-agent.ts');
  await runDaemon('agent', options, flags, runAgent);
}
