import { connect, createServer, type Server, type Socket } from 'node:net';
import { NO_LSN, parseTerm } from '../../../common/lsn.ts';
import { keysOf } from '../../../election/store/keys.ts';
import { encodeRecord, memberRecord } from '../../../election/store/records.ts';
import type { Random } from '../../simulation/random.ts';
import type { ProxyCluster } from '../../support/proxy-cluster.ts';
import { noise } from './mutate.ts';

/**
 * Stands before a follower and now and then says something in its stead: garbage, messages of no sense here, lengths
 * beyond all bounds, half a message, or nothing any more.
 */
export class BadServer implements AsyncDisposable {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #random: Random;
  /** Chance for each chunk of the server. */
  #badness = 0;
  spoilt = 0;

  private constructor(random: Random, target: number) {
    this.#random = random;
    this.#server = createServer((client) => this.#relay(client, target));
  }

  /** The proxies are told that the follower is here. */
  static async standBefore(cluster: ProxyCluster, node: string, random: Random): Promise<BadServer> {
    const bad = new BadServer(random, cluster.node(node).port);
    await new Promise<void>((resolve) => bad.#server.listen(0, '127.0.0.1', resolve));
    const { port } = bad.#server.address() as { port: number };
    const value = encodeRecord(memberRecord, {
      node,
      address: { host: '127.0.0.1', port },
      apiUrl: 'http://127.0.0.1:1',
      state: 'FOLLOWER',
      term: parseTerm(cluster.term),
      timeline: 1,
      flushedLsn: NO_LSN,
      replayedLsn: NO_LSN,
      streaming: true,
      systemId: null,
      postgresVersion: null,
      postgresPid: null,
      agentPid: process.pid,
      priority: 50,
      noFailover: false,
      note: null,
    });
    const then = [{ type: 'put' as const, key: keysOf('main').member(node), value }];
    await cluster.store.transact({ compare: [], then }, { deadlineMs: 3_000 });
    return bad;
  }

  beBad(badness: number): void {
    this.#badness = badness;
  }

  #relay(client: Socket, target: number): void {
    const server = connect(target, '127.0.0.1');
    for (const [socket, other] of [
      [client, server],
      [server, client],
    ] as const) {
      this.#sockets.add(socket);
      socket.on('error', () => undefined);
      socket.on('close', () => {
        this.#sockets.delete(socket);
        other.destroy();
      });
    }
    client.on('data', (chunk: Buffer) => server.write(chunk));
    server.on('data', (chunk: Buffer) => {
      if (this.#random.chance(this.#badness)) this.#spoil(client, chunk);
      else if (!client.destroyed) client.write(chunk);
    });
  }

  #spoil(client: Socket, chunk: Buffer): void {
    const random = this.#random;
    this.spoilt += 1;
    const half = chunk.subarray(0, random.below(chunk.length));
    const header = Buffer.from([0x44, 0, 0, 0, 0]);
    header.writeUInt32BE(random.pick([0, 3, 0x3fff_ffff, 0x7fff_ffff, 0xffff_ffff]), 1);
    client.write(
      random.pick([
        noise(random, 1 + random.below(200)),
        half,
        Buffer.concat([half, noise(random, 20)]),
        Buffer.concat([header, chunk]),
        Buffer.from([0x7a, 0, 0, 0, 4]),
        Buffer.from([0x47, 0, 0, 0, 7, 0, 0, 0]), // CopyInResponse to nobody's COPY
        Buffer.from([0x52, 0, 0, 0, 8, 0, 0, 0, 5]), // a password, please
      ]),
    );
    if (random.chance(0.5)) client.destroy();
    else setTimeout(() => client.destroy(), random.below(300));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
