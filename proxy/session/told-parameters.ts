import type { Backend } from '../pool/backend.ts';
import { parameterStatus } from '../wire/encode.ts';
import type { ClientOutput } from './output.ts';

/** The server parameters as a client was told them: its server changes from unit to unit, and it must not notice. */
export class ToldParameters {
  readonly #values = new Map<string, string>();
  #key = '';

  get(name: string): string | undefined {
    return this.#values.get(name);
  }

  /** Tells what differs, as a server does right before ReadyForQuery. */
  tell(backend: Backend, out: ClientOutput): void {
    if (backend.parametersKey === this.#key) return;
    this.#key = backend.parametersKey;
    for (const [name, reported] of backend.parameters) {
      // The client's server is the proxy, which takes writes whatever node answers it now.
      const value = name === 'in_hot_standby' ? 'off' : reported;
      if (this.#values.get(name) === value) continue;
      this.#values.set(name, value);
      out.send(parameterStatus(name, value));
    }
  }
}
