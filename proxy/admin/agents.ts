import type { MemberRecord } from '../../election/store/records.ts';
import { ActionRefused } from './action-refused.ts';

const DEADLINE_MS = 10_000;

/** What an agent may be asked over its HTTP API (election/api.ts). */
export type AgentRequest =
  | 'failover'
  | 'failover/forced'
  | 'crash'
  | 'drill/freeze'
  | 'drill/partition'
  | 'drill/lag'
  | 'drill/lift';

/** What it answered, as JSON. Throws ActionRefused with what the agent said, or that it does not answer. */
export function askAgent(
  member: MemberRecord,
  what: AgentRequest,
  token: string | null,
  body: object = {},
): Promise<unknown> {
  return askPeer(`the agent of ${member.node}`, member.apiUrl, what, token, body);
}

/** A POST to another process of the cluster. */
export async function askPeer(
  who: string,
  baseUrl: string,
  path: string,
  token: string | null,
  body: object,
): Promise<unknown> {
  const url = new URL(path, baseUrl.endsWith('/') ? baseUrl : `${baseUrl}/`);
  let response: Response;
  try {
    response = await fetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...(token === null ? {} : { authorization: `Bearer ${token}` }) },
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(DEADLINE_MS),
    });
  } catch (error) {
    throw new ActionRefused(502, `${who} at ${baseUrl} does not answer`, error);
  }
  const text = (await response.text()).slice(0, 4000);
  if (response.ok) return parsed(text);
  const said = (parsed(text) as { message?: unknown } | null)?.message;
  if (response.status === 409 && typeof said === 'string') throw new ActionRefused(409, said);
  throw new ActionRefused(502, `${who} answered ${response.status}: ${text.slice(0, 500).trim()}`);
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
