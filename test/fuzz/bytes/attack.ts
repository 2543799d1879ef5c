import { connect, type Socket } from 'node:net';
import { loginToBackend } from '../../../proxy/auth/backend-login.ts';
import * as encode from '../../../proxy/wire/encode.ts';
import type { Random } from '../../simulation/random.ts';
import { encodeMessage, framed, type Message } from '../messages.ts';
import { programOf } from '../program.ts';
import { mutate, noise } from './mutate.ts';

/** What a fuzzed client sets before it misbehaves; nobody else may ever see it. */
export const MARKER = 'marked by the fuzzer';

const STATES = [
  'start',
  'ssl',
  'gss',
  'sasl',
  'sasl-final',
  'cancel',
  'idle',
  'transaction',
  'extended',
  'copy-in',
  'copy-out',
  'console',
  'replication',
] as const;
type State = (typeof STATES)[number];

export interface Attack {
  readonly state: State;
  /** Whether the connection ended by itself within the bound. */
  readonly ended: boolean;
}

/** Longer than the proxy waits for anything but a client that may idle. */
const ENDS_WITHIN_MS = 400;

/** One connection that is brought to a state and then gets bytes that nobody should send; it is always closed at the end. */
export async function attack(random: Random, port: number): Promise<Attack> {
  const state = STATES[random.below(STATES.length)] as State;
  const socket = await reach(random, state, port);
  if (socket === null) return { state, ended: true };
  let ended = false;
  const closed = new Promise<void>((resolve) => socket.once('close', () => ((ended = true), resolve())));
  socket.on('data', () => undefined);
  socket.resume();
  const times = 1 + random.below(4);
  for (let i = 0; i < times && !ended; i++) await drip(random, socket, badBytes(random, state), () => ended);
  if (random.chance(0.3)) socket.end();
  await Promise.race([closed, new Promise((resolve) => setTimeout(resolve, random.chance(0.2) ? ENDS_WITHIN_MS : 20))]);
  const byItself = ended;
  if (random.chance(0.5)) socket.destroy();
  else socket.resetAndDestroy();
  return { state, ended: byItself };
}

async function drip(random: Random, socket: Socket, bytes: Buffer, ended: () => boolean): Promise<void> {
  if (!random.chance(0.2)) {
    socket.write(bytes);
    return;
  }
  for (let at = 0; at < bytes.length && at < 60 && !ended(); at += 3) {
    socket.write(bytes.subarray(at, at + 3));
    await new Promise((resolve) => setImmediate(resolve));
  }
}

const STARTUP = encode.startupMessage([
  ['user', 'app'],
  ['database', 'app'],
]);

/** Null: the proxy closed it already, or refused. */
async function reach(random: Random, state: State, port: number): Promise<Socket | null> {
  if (['start', 'ssl', 'gss', 'sasl', 'sasl-final', 'cancel'].includes(state)) {
    const socket = await open(port);
    if (state === 'ssl') socket.write(encode.SSL_REQUEST);
    if (state === 'gss') socket.write(Buffer.from([0, 0, 0, 8, 4, 210, 22, 48]));
    if (state === 'sasl' || state === 'sasl-final') socket.write(STARTUP);
    if (state === 'sasl-final') socket.write(saslInitial('n,,n=,r=fuzzfuzzfuzzfuzzfuzz'));
    if (state !== 'start' && random.chance(0.7)) await new Promise((resolve) => setTimeout(resolve, 5));
    return socket;
  }
  const socket = await logIn(state, port);
  if (socket === null) return null;
  const send = (...messages: Message[]): boolean => socket.write(Buffer.concat(messages.map(encodeMessage)));
  send({ type: 'query', sql: `SET fuzz.marker = '${MARKER}'` });
  if (state === 'transaction')
    send({ type: 'query', sql: 'BEGIN' }, { type: 'query', sql: "SET LOCAL work_mem = '7MB'; SELECT 1" });
  if (state === 'extended') send({ type: 'parse', name: 'marked', sql: 'SELECT $1::int', oids: [] }, { type: 'flush' });
  if (state === 'copy-in') send({ type: 'query', sql: 'COPY fuzz_bytes FROM STDIN' });
  if (state === 'copy-out') send({ type: 'query', sql: 'COPY (SELECT * FROM generate_series(1, 20000)) TO STDOUT' });
  if (random.chance(0.5)) await new Promise((resolve) => setTimeout(resolve, 5));
  return socket;
}

function open(port: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => resolve(socket));
    socket.on('error', reject);
  });
}

async function logIn(state: State, port: number): Promise<Socket | null> {
  try {
    const { socket } = await loginToBackend(
      {
        host: '127.0.0.1',
        port,
        user: state === 'replication' ? 'postgres' : 'app',
        database: state === 'console' ? 'leasehold' : 'app',
        credentials: { kind: 'password', password: state === 'replication' ? 'postgres' : 'app' },
        parameters: new Map(),
        tls: { mode: 'disable' },
        ...(state === 'replication' ? { replication: 'database' as const } : {}),
      },
      { signal: AbortSignal.timeout(20_000), connectTimeoutMs: 20_000 },
    );
    return socket;
  } catch {
    return null;
  }
}

function badBytes(random: Random, state: State): Buffer {
  switch (state) {
    case 'start':
      return mutateStartup(
        random,
        random.pick([STARTUP, encode.SSL_REQUEST, encode.cancelRequest(1, Buffer.alloc(4))]),
      );
    case 'ssl':
    case 'gss':
      return random.chance(0.5) ? mutateStartup(random, STARTUP) : noise(random, 1 + random.below(300));
    case 'cancel':
      return encode.cancelRequest(random.below(100_000), noise(random, random.pick([0, 1, 4, 4, 32, 256])));
    case 'sasl':
      return mutate(random, [saslInitial('n,,n=,r=abcdefghijklmnop')]);
    case 'sasl-final':
      return mutate(random, [
        saslFinal(`c=biws,r=fuzz${'x'.repeat(random.below(50))},p=${noise(random, 32).toString('base64')}`),
      ]);
    default: {
      const { items } = programOf(random.next(), 1);
      const messages = items.filter((item) => item.type !== 'wait').slice(0, 1 + random.below(8));
      return mutate(random, messages.map(encodeMessage));
    }
  }
}

/** It has no type, so that its length stands first. */
function mutateStartup(random: Random, valid: Buffer): Buffer {
  const out = Buffer.from(valid);
  if (random.chance(0.4)) out.writeUInt32BE(random.pick([0, 4, 7, 8, 9, 10_000, 10_001, 0x7fff_ffff, 0xffff_ffff]), 0);
  if (random.chance(0.4) && out.length >= 8)
    out.writeUInt32BE(random.pick([0, 1, 131_072, 196_610, 196_707, 262_144, 80_877_102, 0xffff_ffff]), 4);
  if (random.chance(0.4)) return out.subarray(0, random.below(out.length + 1));
  return random.chance(0.3) ? mutate(random, [out]) : out;
}

function saslInitial(data: string): Buffer {
  const size = Buffer.alloc(4);
  size.writeInt32BE(data.length);
  return framed('p', Buffer.concat([Buffer.from('SCRAM-SHA-256\0'), size, Buffer.from(data)]));
}

function saslFinal(data: string): Buffer {
  return framed('p', Buffer.from(data));
}
