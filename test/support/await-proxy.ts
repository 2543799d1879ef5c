import { setTimeout as sleep } from 'node:timers/promises';

interface Status {
  readonly route: { readonly seq: number } | null;
  readonly nodes: readonly { readonly role: string; readonly freshnessMs: number | null }[];
}

/** Resolves when the proxy whose HTTP API is at `httpUrl` takes clients and knows how fresh its `followers` are. */
export async function proxyReady(httpUrl: string, followers: number): Promise<void> {
  await seen(httpUrl, async ({ nodes }) => {
    const known = nodes.filter(({ role, freshnessMs }) => role === 'follower' && freshnessMs !== null);
    const answer = await fetch(`${httpUrl}/readyz`).catch(() => null);
    return answer?.status === 200 && known.length === followers;
  });
}

/** Resolves when the proxy obeys the route `seq` or a later one. */
export async function seesRoute(httpUrl: string, seq: number): Promise<void> {
  await seen(httpUrl, ({ route }) => route !== null && route.seq >= seq);
}

async function seen(httpUrl: string, condition: (status: Status) => boolean | Promise<boolean>): Promise<void> {
  for (let i = 0; ; i++) {
    const status = (await fetch(`${httpUrl}/status`).then((each) => each.json())) as Status;
    if (await condition(status)) return;
    if (i >= 500) throw new Error(`the proxy does not come to it: ${JSON.stringify(status)}`);
    await sleep(10);
  }
}
