import { spawnSync } from 'node:child_process';
import { chmodSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from './paths.ts';

// `npm pack` calls this: Node does not strip types below node_modules, so a package carries compiled code.
rmSync(join(packageRoot, 'dist'), { recursive: true, force: true });
const tsc = spawnSync(
  join(packageRoot, 'node_modules', '.bin', 'tsc'),
  ['-p', join(packageRoot, 'tsconfig.build.json')],
  {
    stdio: ['ignore', 2, 2],
  },
);
if (tsc.error !== undefined) process.stderr.write(`cannot run tsc: ${tsc.error.message}\n`);
chmodSync(join(packageRoot, 'ops', 'launch.mjs'), 0o755);
process.exit(tsc.status ?? 1);
