import { ClientError } from '../../common/errors.ts';
import { type Lsn, parseTerm, type Term } from '../../common/lsn.ts';

/**
 * A floor that can be carried outside of a connection: whoever has replayed position `lsn` of term `term`, or belongs to a later
 * term, shows everything that the session was told of and has read.
 */
export interface Token {
  readonly term: Term;
  readonly lsn: Lsn;
}

/**
 * `lh1.<term>.<position in hex>.<check>`. Letters, digits and points only: fit for a cookie, a header, a URL. The check covers
 * the cluster's name too, so that a token that was cut short, or is another cluster's, is refused rather than taken for a lower floor.
 */
export function formatToken(token: Token, cluster: string): string {
  const body = `${VERSION}.${token.term}.${token.lsn.toString(16)}`;
  return `${body}.${checkOf(body, cluster)}`;
}

const VERSION = 'lh1';
const TOKEN = /^lh1\.(0|[1-9][0-9]{0,18})\.([0-9a-f]{1,16})\.([0-9a-f]{8})$/;

/** Throws ClientError 22023. */
export function parseToken(text: string, cluster: string): Token {
  const match = TOKEN.exec(text.trim());
  if (match === null) {
    const other = /^lh[0-9]+\./.test(text) && !text.startsWith(`${VERSION}.`);
    throw invalid(text, other ? 'It is of another version than this proxy knows.' : FORM);
  }
  const [, term = '', lsn = '', check] = match;
  if (check !== checkOf(`${VERSION}.${term}.${lsn}`, cluster)) {
    throw invalid(text, `It was changed on its way, or is of another cluster than "${cluster}".`);
  }
  return { term: parseTerm(term), lsn: BigInt(`0x${lsn}`) as Lsn };
}

const FORM = 'A token is what SHOW leasehold.token gave: lh1.<term>.<position>.<check>.';

function invalid(text: string, detail: string): ClientError {
  const shown = text.length > 80 ? `${text.slice(0, 80)}…` : text;
  return new ClientError({
    sqlState: '22023',
    message: `invalid value for parameter "leasehold.token": "${shown}"`,
    detail,
    hint: 'Use the text of SHOW leasehold.token as it is.',
  });
}

/** FNV-1a: against accidents, not against forgers. A forged token can only make its own session wait or fail. */
function checkOf(body: string, cluster: string): string {
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(`${body}@${cluster}`)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  return hash.toString(16).padStart(8, '0');
}

/** What is known of the cluster when a token is to be reached. */
export interface TokenView {
  /** The route's; null before any. */
  readonly term: Term | null;
  /** The freshness of a follower that has replayed `lsn` in the present term; null: no leader was seen there yet. */
  momentOf(lsn: Lsn): number | null;
  /** A leader of the present term was asked after the token came, and answered. */
  readonly asked: boolean;
}

export type TokenStanding =
  /** A follower that is fresh as of then shows all that the token covers, and so does the leader. */
  | { readonly kind: 'reached'; readonly atMs: number }
  | { readonly kind: 'wait'; readonly for: 'term' | 'leader' }
  /** This cluster never gave it out. */
  | { readonly kind: 'beyond' };

/**
 * A token of an older term is covered by whatever the present term's leader has: an election loses nothing that was acknowledged
 * (election/SPEC.md, "Why nothing acknowledged is lost"), and the token's position may lie behind the fork, where it can
 * never be reached. In its own term the position itself counts; a leader that was asked later and is not there did not give it out,
 * since positions only grow within a term. A later term than the known one is news that has yet to come.
 */
export function standingOf(token: Token, view: TokenView): TokenStanding {
  if (view.term === null || token.term > view.term) return { kind: 'wait', for: 'term' };
  const atMs = view.momentOf(token.term < view.term ? (0n as Lsn) : token.lsn);
  if (atMs !== null) return { kind: 'reached', atMs };
  return token.term === view.term && view.asked ? { kind: 'beyond' } : { kind: 'wait', for: 'leader' };
}
