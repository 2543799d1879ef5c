/** What an administrator can do to etcd behind everybody's back, over its JSON gateway. */
export class EtcdAdmin {
  readonly #endpoints: ReadonlyMap<string, string>;

  /** Name of each member, and its URL for clients. */
  constructor(endpoints: ReadonlyMap<string, string>) {
    this.#endpoints = endpoints;
  }

  /** The member that leads, as far as one that answers knows; null where none does. */
  async leader(): Promise<string | null> {
    const ids = new Map<string, string>();
    const leaders: string[] = [];
    await Promise.all(
      [...this.#endpoints].map(async ([name, url]) => {
        const status = await post(url, '/v3/maintenance/status', {}).catch(() => null);
        if (status === null) return;
        ids.set(String((status['header'] as Record<string, unknown>)['member_id']), name);
        leaders.push(String(status['leader']));
      }),
    );
    return leaders.map((id) => ids.get(id)).find((name) => name !== undefined) ?? null;
  }

  async healthy(name: string): Promise<boolean> {
    const answer = await fetch(`${this.#endpoints.get(name)}/health`, { signal: AbortSignal.timeout(1000) }).catch(
      () => null,
    );
    return answer !== null && ((await answer.json()) as { health?: string }).health === 'true';
  }

  put(key: string, value: string): Promise<unknown> {
    return this.#ask('/v3/kv/put', { key: base64(key), value: base64(value) });
  }

  delete(key: string): Promise<unknown> {
    return this.#ask('/v3/kv/deleterange', { key: base64(key) });
  }

  async revokeLeaseOf(key: string): Promise<void> {
    const answer = await this.#ask('/v3/kv/range', { key: base64(key) });
    const lease = (answer['kvs'] as { lease?: string }[] | undefined)?.[0]?.lease;
    if (lease !== undefined) await this.#ask('/v3/lease/revoke', { ID: lease });
  }

  /** Everything but the present state is forgotten, under the feet of those who watch. */
  async compact(): Promise<void> {
    const answer = await this.#ask('/v3/kv/range', { key: base64('nothing') });
    const { revision } = answer['header'] as { revision: string };
    await this.#ask('/v3/kv/compaction', { revision });
  }

  /** Of whichever member answers. */
  async #ask(path: string, body: object): Promise<Record<string, unknown>> {
    let last: unknown = null;
    for (const url of this.#endpoints.values()) {
      try {
        return await post(url, path, body);
      } catch (error) {
        last = error;
      }
    }
    throw last;
  }
}

async function post(url: string, path: string, body: object): Promise<Record<string, unknown>> {
  const signal = AbortSignal.timeout(1500);
  const answer = await fetch(url + path, { method: 'POST', body: JSON.stringify(body), signal });
  if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
  return (await answer.json()) as Record<string, unknown>;
}

function base64(text: string): string {
  return Buffer.from(text).toString('base64');
}
