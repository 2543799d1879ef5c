import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { delimiter, join, relative } from 'node:path';
import type { ClusterStatus } from '../api-client.ts';
import type { painter } from '../format/events.ts';
import { isCheckout } from '../paths.ts';
import type { Programs } from '../setup/prepare.ts';
import type { Layout } from './layout.ts';

export interface ReadyTextInputs {
  readonly proxies: readonly { readonly port: number; readonly httpPort: number }[];
  readonly status: ClusterStatus;
  readonly layout: Layout;
  readonly programs: Programs;
  readonly paint: ReturnType<typeof painter>;
}

/** The line that programs wait for, then what a person may want to try next. */
export function readyText({ proxies, status, layout, programs, paint }: ReadyTextInputs): string[] {
  const [first] = proxies;
  const port = first?.port ?? 0;
  const http = first?.httpPort ?? 0;
  const api = http === 6480 ? '' : ` --api http://127.0.0.1:${http}`;
  const leader = status.nodes.find((node) => node.node === status.leader?.node);
  const psql = clientProgram('psql', programs, layout);
  const pgbench = `${clientProgram('pgbench', programs, layout)} -h 127.0.0.1 -p ${port} -U app`;
  const again = isCheckout ? 'npm start' : 'npx leasehold up';
  const cli = 'npx leasehold';
  const line = (what: string, command: string) => `  ${paint('dim', what.padEnd(24))} ${command}`;
  return [
    `ready postgres://app:app@127.0.0.1:${port}/app`,
    '',
    line('a shell', `${psql} postgres://app:app@127.0.0.1:${port}/app`),
    line('load', `export PGPASSWORD=app; ${pgbench} -i -s 10 app`),
    line('', `${pgbench} -c 16 -T 30 --max-tries=10 app`),
    ...(typeof leader?.postgresPid !== 'number'
      ? []
      : [line('kill the leader', `kill -9 ${leader.postgresPid}     # ${leader.node}'s postmaster`)]),
    line('the same, and measured', `${cli} drill crash${api} --html crash.html`),
    line('a planned switchover', `${cli} switchover${api}`),
    line('where everything stands', `${cli} status${api}     # or http://127.0.0.1:${http}/`),
    line('the console', `${psql} postgres://app:app@127.0.0.1:${port}/leasehold -c 'SHOW NODES'`),
    ...(proxies.length > 1
      ? [
          line(
            'further proxies',
            proxies
              .slice(1)
              .map((proxy) => `127.0.0.1:${proxy.port}`)
              .join(', '),
          ),
        ]
      : []),
    line('stop', `Ctrl-C     # the data stay: start again with "${again}"`),
    '',
  ];
}

/** psql by its name where the PATH has it, else as a small script in the cluster's folder that finds its libraries. */
function clientProgram(name: string, programs: Programs, layout: Layout): string {
  const onPath = (process.env['PATH'] ?? '').split(delimiter).some((folder) => existsSync(join(folder, name)));
  if (onPath) return name;
  const { binDir, libDir } = programs.postgres;
  if (libDir === null) return join(binDir, name);
  const file = join(layout.dir, 'bin', name);
  mkdirSync(join(layout.dir, 'bin'), { recursive: true });
  writeFileSync(file, `#!/bin/sh\nLD_LIBRARY_PATH='${libDir}' exec '${join(binDir, name)}' "$@"\n`, { mode: 0o755 });
  const fromHere = relative(process.cwd(), file);
  return fromHere.startsWith('..') ? file : fromHere;
}
