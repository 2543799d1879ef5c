import { loadConfig } from '../../common/config/load.ts';
import { LeaseholdError } from '../../common/errors.ts';
import { createLogger } from '../../common/logger.ts';
import { adoptData } from '../../election/adopt.ts';
import { print, stopSignal } from './context.ts';

export interface AdoptOptions {
  readonly config?: string;
  readonly set?: readonly string[];
  readonly dataDir?: string;
}

/** Prepares existing PostgreSQL data, in place, for the agent of the configuration. Throws where it cannot be taken. */
export async function adoptCommand(options: AdoptOptions): Promise<void> {
  const flags =
    options.dataDir === undefined ? [] : [{ path: 'agent.dataDir', value: options.dataDir, flag: '--data-dir' }];
  const { config, warnings } = loadConfig({ file: options.config, sets: options.set ?? [], flags, needs: ['agent'] });
  for (const warning of warnings) process.stderr.write(`warning: ${warning}\n`);
  const { agent, cluster, service } = config;
  if (agent === undefined || service === undefined) {
    throw new LeaseholdError('CONFIG', 'the configuration has no agent or no service part');
  }
  const adopted = await adoptData({ agent, cluster, service, logger: createLogger(agent.node) }, stopSignal());
  print(
    `${adopted.dataDir} (PostgreSQL system ${adopted.systemId}) is ready to be the first copy of cluster ${cluster.name}`,
  );
  if (!adopted.hasOwnConfig) {
    print('note: it has no postgresql.conf of its own; what that of before said belongs in agent.postgres.parameters');
  }
  print('note: the rules of its pg_hba.conf are not used; proxies have theirs in proxy.auth.hbaFile');
  if (adopted.md5Roles.length > 0) {
    print(
      `note: these roles can log in once their passwords are set again, with SCRAM: ${adopted.md5Roles.join(', ')}`,
    );
  }
  if (adopted.tablespaces.length > 0) {
    print(`note: every node needs the paths of its tablespaces: ${adopted.tablespaces.join(', ')}`);
  }
  print('next: start the agent of this node; when it leads, those of the other nodes, whose folders are empty');
}
