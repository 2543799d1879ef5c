import type { Checks } from './checks.ts';
import type { SimContext } from './context.ts';
import type { SimNode } from './node.ts';

/**
 * Clients that write unique numbers to any server that lets them in, without asking who leads: harsher than a proxy,
 * and S3 must hold all the same. One of them sits beside each server, so no partition keeps it away.
 */
export class Clients {
  writing = true;
  #next = 1;
  readonly #context: SimContext;
  readonly #checks: Checks;

  constructor(context: SimContext, checks: Checks, nodes: Iterable<SimNode>) {
    this.#context = context;
    this.#checks = checks;
    for (const node of nodes) this.#loop(node);
  }

  #loop(node: SimNode): void {
    const { scheduler, random } = this.#context;
    scheduler.after(random.between(4, 40), () => {
      if (this.writing && node.postgres.acceptsWrites) this.#write(node);
      this.#loop(node);
    });
  }

  /** A request to a stopped server waits in its socket. */
  #write(node: SimNode): void {
    const { postgres } = node;
    const value = this.#next++;
    postgres.process.deliver(postgres.process.life, () => {
      if (!postgres.acceptsWrites) return;
      const term = postgres.term;
      postgres.commit('write', value, () => this.#checks.acknowledge(node.name, term, value));
    });
  }
}
