import { loginToBackend } from '../../proxy/auth/backend-login.ts';
import { keysOfPassword, parseVerifier } from '../../proxy/auth/scram.ts';

/**
 * `idle-clients-main.ts PORT COUNT VERIFIER`: so many clients that log in as app and then do nothing, until standard input ends. Says `ready`. The
 * password's keys are worked out once: that costs a client milliseconds, and they are not the proxy's.
 */
const [port = '', count = '', text = ''] = process.argv.slice(2);
const AT_ONCE = 32;
const verifier = parseVerifier(text);
if (verifier === null) throw new Error('not a SCRAM verifier');
const { clientKey } = await keysOfPassword('app', verifier.salt, verifier.iterations);
const credentials = { kind: 'scram-keys', verifier, clientKey } as const;
const target = {
  host: '127.0.0.1',
  port: Number(port),
  user: 'app',
  database: 'app',
  credentials,
  parameters: new Map(),
  tls: { mode: 'disable' },
} as const;

let left = Number(count);
await Promise.all(Array.from({ length: AT_ONCE }, connectSome));
process.stdout.write('ready\n');
process.stdin.on('end', () => process.exit(0)).resume();

async function connectSome(): Promise<void> {
  while (left > 0) {
    left -= 1;
    const options = { signal: AbortSignal.timeout(60_000), connectTimeoutMs: 60_000 };
    const { socket } = await loginToBackend(target, options);
    socket.on('error', () => undefined);
    socket.on('close', () => process.stdout.write('lost\n'));
    socket.resume();
  }
}
