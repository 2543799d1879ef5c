import { InvariantError } from '../../common/errors.ts';
import type { Backend } from './backend.ts';
import type { NodeLoad } from '../routing/node-load.ts';

/** The connections that a pool has: idle, in use, and those on their way out, which the server may still count. */
export class Stock {
  /** The one that came free last is at the end, and is used next. */
  readonly #idle: Backend[] = [];
  readonly #all = new Set<Backend>();
  readonly #load: NodeLoad;
  /** What each had said in all when it was looked at last, because its node could not be reached. */
  readonly #heard = new WeakMap<Backend, number>();
  #leaving = 0;

  constructor(load: NodeLoad) {
    this.#load = load;
  }

  get all(): ReadonlySet<Backend> {
    return this.#all;
  }

  get idle(): number {
    return this.#idle.length;
  }

  get busy(): number {
    return this.#all.size - this.#idle.length;
  }

  get leaving(): number {
    return this.#leaving;
  }

  /** Idle for longest. */
  get oldest(): Backend | undefined {
    return this.#idle[0];
  }

  /** A new one, in use. */
  add(backend: Backend): void {
    this.#all.add(backend);
    this.#load.busy += 1;
  }

  pop(): Backend | null {
    const backend = this.#idle.pop();
    if (backend === undefined) return null;
    backend.resting = false;
    this.#load.busy += 1;
    return backend;
  }

  /** `behind`: to be used after the others. */
  put(backend: Backend, behind: boolean): void {
    if (backend.resting) throw new InvariantError('a connection was given back twice');
    backend.resting = true;
    if (behind) this.#idle.unshift(backend);
    else this.#idle.push(backend);
    this.#load.busy -= 1;
  }

  /** It was closed, and is not gone yet. */
  remove(backend: Backend): void {
    this.#all.delete(backend);
    this.#leaving += 1;
    if (backend.resting) this.#idle.splice(this.#idle.indexOf(backend), 1);
    else this.#load.busy -= 1;
    backend.resting = false;
  }

  gone(): void {
    this.#leaving -= 1;
  }

  /** Of a node that cannot be reached: those that have said nothing since the last call, and all that are idle. */
  unheard(): Backend[] {
    const silent = [...this.#all].filter(
      (backend) => backend.resting || this.#heard.get(backend) === backend.bytesRead,
    );
    for (const backend of this.#all) this.#heard.set(backend, backend.bytesRead);
    return silent;
  }

  idleOnes(): Backend[] {
    return this.#idle.slice();
  }

  /** Takes idle ones that have been silent for so long, but not all at once. */
  popSilent(beforeMs: number): Backend[] {
    const silent = this.#idle.filter((backend) => Math.max(backend.idleSinceMs, backend.checkedAtMs) < beforeMs);
    const some = silent.slice(0, Math.ceil(this.#idle.length / 2));
    for (const backend of some) {
      this.#idle.splice(this.#idle.indexOf(backend), 1);
      backend.resting = false;
    }
    this.#load.busy += some.length;
    return some;
  }
}
