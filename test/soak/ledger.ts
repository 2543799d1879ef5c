/** What clients were told, and what was not as it should be. */
export class Ledger {
  connections = 0;
  requests = 0;
  expectedErrors = 0;
  faults = 0;
  readonly faultTexts: string[] = [];
  readonly #acknowledged = new Map<number, number[]>();
  readonly #refused = new Map<number, number[]>();

  fault(text: string): void {
    this.faults += 1;
    if (this.faultTexts.length < 50) this.faultTexts.push(text);
  }

  acknowledge(client: number, serial: number): void {
    listOf(this.#acknowledged, client).push(serial);
  }

  /** Rolled back, with the client's knowledge. */
  refuse(client: number, serial: number): void {
    listOf(this.#refused, client).push(serial);
  }

  /** Compares with the rows that are there. `serialsOf` gives those of one client. */
  async verify(
    serialsOf: (client: number) => Promise<ReadonlySet<number>>,
  ): Promise<{ acknowledged: number; lost: number; risen: number }> {
    let [acknowledged, lost, risen] = [0, 0, 0];
    for (const client of new Set([...this.#acknowledged.keys(), ...this.#refused.keys()])) {
      const there = await serialsOf(client);
      for (const serial of listOf(this.#acknowledged, client)) {
        acknowledged += 1;
        if (!there.has(serial)) lost += 1;
      }
      for (const serial of listOf(this.#refused, client)) if (there.has(serial)) risen += 1;
    }
    return { acknowledged, lost, risen };
  }
}

function listOf(map: Map<number, number[]>, client: number): number[] {
  let list = map.get(client);
  if (list === undefined) map.set(client, (list = []));
  return list;
}
