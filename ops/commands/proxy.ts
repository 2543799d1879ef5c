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
  await runDaemon('proxy', options, flags, async (config, logger, signal, hooks) => {
    const proxy = await runProxy({ config, logger, signal, load: hooks.load });
    hooks.stopTakes(() => proxy.drainMs());
    hooks.onHangup(() => {
      try {
        proxy.reload();
      } catch {
        // It was logged, with every fault; the configuration in force stays.
      }
    });
    await proxy.closed;
  });
}
