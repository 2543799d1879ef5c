import type { NodeFreshness } from '../../replication-monitor/types.ts';
import type { FollowerRequest } from './choose-node.ts';
import { costOf, type NodeLoad, shareOf } from './node-load.ts';

/** What makes a follower worse than others, the worst first. A follower of a worse rank serves only where no better one may. */
const EJECTED = 8;
const WITHOUT_WEIGHT = 4;
const NOT_STREAMING = 2;
const FOREIGN = 1;

/** A follower of another zone is better when those of the own one take so many times as long, and longer than this. */
const FAR_SLOWER = 3;
const SLOW_MS = 5;

/** A smaller difference of cost is noise: the draw decides, which follows the weights. */
const NOTABLY_LESS = 0.8;

/** Followers that may serve one read, and the choice among them. Its arrays are used again for the next read. */
export class FollowerDraw {
  count = 0;
  readonly #names: string[] = [];
  readonly #ranks: number[] = [];
  readonly #shares: number[] = [];
  readonly #loads: NodeLoad[] = [];
  /** What is left of the random number: as uniform as it was. */
  #random = 0;

  add(node: NodeFreshness, request: FollowerRequest): void {
    const load = request.loadOf(node.node);
    const i = this.count;
    this.#names[i] = node.node;
    this.#loads[i] = load;
    // Of those without weight each is as good as another.
    this.#shares[i] = load.weight > 0 ? shareOf(load, request.nowMs) : 1;
    this.#ranks[i] =
      (request.nowMs < load.ejectedUntilMs ? EJECTED : 0) +
      (load.weight > 0 ? 0 : WITHOUT_WEIGHT) +
      (node.streaming ? 0 : NOT_STREAMING) +
      (load.foreign ? FOREIGN : 0);
    this.count = i + 1;
  }

  /** The name of one. There must be one. */
  draw(request: FollowerRequest): string {
    const { nowMs } = request;
    this.#random = request.random;
    let best = Infinity;
    for (let i = 0; i < this.count; i += 1) best = Math.min(best, this.#ranks[i] as number);
    const own = this.#better(this.#pick(best, -1), best, nowMs);
    if ((best & FOREIGN) !== 0) return this.#names[own] as string;
    const other = this.#pick(best | FOREIGN, -1);
    const far = other >= 0 && this.#cost(own, nowMs) > Math.max(SLOW_MS, FAR_SLOWER * this.#cost(other, nowMs));
    return this.#names[far ? other : own] as string;
  }

  /** The cheaper of `first` and another one of its rank. */
  #better(first: number, rank: number, nowMs: number): number {
    const second = this.#pick(rank, first);
    if (second < 0) return first;
    return this.#cost(second, nowMs) < NOTABLY_LESS * this.#cost(first, nowMs) ? second : first;
  }

  #cost(i: number, nowMs: number): number {
    return costOf(this.#loads[i] as NodeLoad, this.#shares[i] as number, nowMs);
  }

  /** One of a rank but `without`, each as likely as its share; -1 where there is none. */
  #pick(rank: number, without: number): number {
    let total = 0;
    let last = -1;
    for (let i = 0; i < this.count; i += 1) {
      if (this.#ranks[i] !== rank || i === without) continue;
      total += this.#shares[i] as number;
      last = i;
    }
    if (last < 0) return -1;
    let at = this.#random * total;
    for (let i = 0; i < last; i += 1) {
      if (this.#ranks[i] !== rank || i === without) continue;
      const share = this.#shares[i] as number;
      if (at < share) {
        this.#random = at / share;
        return i;
      }
      at -= share;
    }
    this.#random = Math.min(at / (this.#shares[last] as number), 1 - Number.EPSILON);
    return last;
  }
}
