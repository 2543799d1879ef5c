import assert from 'node:assert/strict';
import { chooseFollower } from '../../proxy/routing/choose-node.ts';
import {
  newNodeLoad,
  type NodeLoad,
  noteServing,
  onAnswered,
  onAsked,
  onFailed,
} from '../../proxy/routing/node-load.ts';
import type { FreshnessSnapshot } from '../../replication-monitor/types.ts';
import { exampleFollower, exampleSnapshot } from './freshness.ts';

/** Follower `name` of the simulation: how long it takes for each request that it has (one after another), null: never. */
export interface Server {
  readonly name: string;
  serviceMs: number | null;
  usable: boolean;
  streaming: boolean;
  readonly load: NodeLoad;
  readonly work: { readonly askedAtMs: number; doneAtMs: number }[];
  served: number;
}

/** Clients ask every `everyMs`, and each request goes where `chooseFollower` says. A seeded generator draws; nothing else is random. */
export class BalanceSimulation {
  readonly servers: Server[];
  nowMs = 100_000;
  #seed: number;
  #failures = 0;

  constructor(seed: number, services: Readonly<Record<string, number>>) {
    this.#seed = seed;
    this.servers = Object.entries(services).map(([name, serviceMs]) => ({
      name,
      serviceMs,
      usable: true,
      streaming: true,
      load: newNodeLoad(),
      work: [],
      served: 0,
    }));
  }

  server(name: string): Server {
    return this.servers.find((each) => each.name === name) as Server;
  }

  /** Returns which share of the requests each follower was given. */
  run(forMs: number, everyMs: number): Record<string, number> {
    for (const server of this.servers) server.served = 0;
    this.#failures = 0;
    const untilMs = this.nowMs + forMs;
    for (; this.nowMs < untilMs; this.nowMs += everyMs) {
      for (const server of this.servers) this.#finish(server);
      this.#ask();
    }
    const all = this.servers.reduce((sum, { served }) => sum + served, 0);
    return Object.fromEntries(this.servers.map(({ name, served }) => [name, served / all]));
  }

  get failures(): number {
    return this.#failures;
  }

  snapshot(): FreshnessSnapshot {
    return exampleSnapshot(
      this.servers.map(({ name, usable, streaming }) =>
        exampleFollower(name, { usable, streaming, freshAsOfMs: 2000 }),
      ),
    );
  }

  #finish(server: Server): void {
    noteServing(server.load, server.usable, this.nowMs);
    while (server.work[0] !== undefined && server.work[0].doneAtMs <= this.nowMs) {
      const { askedAtMs, doneAtMs } = server.work.shift() as Server['work'][number];
      onAnswered(server.load, askedAtMs, doneAtMs);
      server.load.busy -= 1;
    }
  }

  #ask(): void {
    const choice = chooseFollower(this.snapshot(), {
      level: 'eventual',
      floor: { committedAtMs: -Infinity, lastReadAtMs: -Infinity, lastNode: null },
      databaseFloorMs: -Infinity,
      maxStalenessMs: Infinity,
      loadOf: (name) => this.server(name).load,
      nowMs: this.nowMs,
      exclude: new Set(),
      random: this.#random(),
    });
    assert.equal(choice.kind, 'follower');
    const server = this.server(choice.kind === 'follower' ? choice.node : '');
    server.served += 1;
    if (server.serviceMs === Infinity) {
      this.#failures += 1;
      onFailed(server.load, this.nowMs, true); // nobody listens
      return;
    }
    onAsked(server.load, this.nowMs);
    server.load.busy += 1;
    const startMs = Math.max(this.nowMs, server.work.at(-1)?.doneAtMs ?? 0);
    const doneAtMs = server.serviceMs === null ? Infinity : startMs + server.serviceMs;
    server.work.push({ askedAtMs: this.nowMs, doneAtMs });
  }

  /** Everything that hung is answered. */
  recover(server: Server, serviceMs: number): void {
    server.serviceMs = serviceMs;
    for (const item of server.work) item.doneAtMs = this.nowMs;
  }

  /** mulberry32 */
  #random(): number {
    this.#seed = (this.#seed + 0x6d2b79f5) | 0;
    let t = Math.imul(this.#seed ^ (this.#seed >>> 15), 1 | this.#seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  }
}
