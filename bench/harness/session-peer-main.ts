import { once } from 'node:events';
import { type AddressInfo, connect, createServer } from 'node:net';
import * as encode from '../../proxy/wire/encode.ts';
import { FrameReader, gatherLimits } from '../../proxy/wire/frames.ts';

/** Clients that read as pgbench does, and servers that answer at once, for `session-path.ts`. Tells the servers' port, is told the proxy's. */
const LIMITS = gatherLimits('QPBDESHC', 1 << 16, 'd');
const row = encode.dataRow(['12345']);
const columns = encode.rowDescription([{ name: 'abalance', oid: 23, size: 4 } as never]);
const simpleAnswer = Buffer.concat([columns, row, encode.commandComplete('SELECT 1'), encode.READY_IDLE]);
const executed = Buffer.concat([row, encode.commandComplete('SELECT 1')]);
const ANSWERS = new Map([
  ['Q', simpleAnswer],
  ['P', encode.PARSE_COMPLETE],
  ['B', encode.BIND_COMPLETE],
  ['D', columns],
  ['E', executed],
  ['S', encode.READY_IDLE],
]);

const server = createServer({ noDelay: true }, (socket) => {
  const answers: Buffer[] = [];
  const take = (type: number): boolean => {
    answers.push(ANSWERS.get(String.fromCharCode(type)) ?? Buffer.alloc(0));
    return true;
  };
  const reader = new FrameReader({ onMessage: take, onPart: take }, LIMITS);
  socket.on('error', () => undefined);
  socket.on('data', (chunk: Buffer) => {
    reader.push(chunk);
    socket.write(Buffer.concat(answers.splice(0)));
  });
});
server.listen(0, '127.0.0.1');
await once(server, 'listening');
process.send?.((server.address() as AddressInfo).port);
const [{ port, clients, idle }] = (await once(process, 'message')) as [
  { port: number; clients: number; idle: boolean },
];
for (let i = 0; i < clients; i += 1) startClient(port);

function startClient(to: number): void {
  const socket = connect({ port: to, host: '127.0.0.1', noDelay: true });
  const named = process.argv[2] === 'prepared';
  const text = Buffer.from('SELECT abalance FROM pgbench_accounts WHERE aid = $1;');
  const tail = Buffer.from([0, 0, 0, 1, 0, 0, 0, 6, ...Buffer.from('123456'), 0, 0]);
  const run = [encode.bind('', 'P0_1', tail), encode.describe('P', ''), encode.execute(''), encode.SYNC];
  const ask = (): Buffer => {
    if (named) return Buffer.concat(run);
    const aid = 1 + Math.floor(Math.random() * 1e6);
    return encode.query(`SELECT abalance FROM pgbench_accounts WHERE aid = ${aid};`);
  };
  socket.on('error', () => process.exit(0));
  if (idle) return;
  socket.on('connect', () => socket.write(named ? Buffer.concat([encode.parse('P0_1', text), ...run]) : ask()));
  socket.on('data', () => socket.write(ask())); // an answer is small enough to come in one piece
}
