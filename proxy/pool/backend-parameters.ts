import { decodeParameterStatus } from '../wire/decode.ts';

/** What a server has reported of its parameters, from the log-in on. */
export class BackendParameters {
  readonly #values: Map<string, string>;
  #key: string | null = null;

  constructor(values: ReadonlyMap<string, string>) {
    this.#values = new Map(values);
  }

  get values(): ReadonlyMap<string, string> {
    return this.#values;
  }

  /** Equal keys mean equal parameters; `in_hot_standby` aside, which is the proxy's to say. */
  get key(): string {
    this.#key ??= [...this.#values]
      .filter(([name]) => name !== 'in_hot_standby')
      .map(([name, value]) => `${name}=${value}`)
      .sort()
      .join('\n');
    return this.#key;
  }

  /** A ParameterStatus message. */
  note(buffer: Buffer, start: number, end: number): void {
    const [name, value] = decodeParameterStatus(buffer, start + 5, end);
    this.#values.set(name, value);
    this.#key = null;
  }
}
