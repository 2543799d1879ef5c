import { type DaemonOptions, runDaemon } from './daemon.ts';

export interface ProxyOptions extends DaemonOptions {
  readonly id?: string;
  readonly port?: number;
  readonly httpPort?: number;
}

export async function proxyCommand(options: ProxyOptions): Promise<void> {
  const flags = [
    { path: 'proxy.id', value: options.id, flag: '--id' },
    { path: 'proxy.listen.port', value: options.port, flag: '--port' },
    { path: 'proxy.http.port', value: options.httpPort, flag: '--http-port' },
  ];
  const { runProxy } = await import('../../proxy/server/run-proxy.ts');
  await runDaemon('proxy', options, flags, async (config, logger, signal) => {
    const proxy = await runProxy({ config, logger, signal });
    await proxy.closed;
  });
}
