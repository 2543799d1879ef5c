/** Where everything lives in etcd (ELECTION.md, "Keys"). */
export interface Keys {
  readonly prefix: string;
  readonly system: string;
  readonly term: string;
  readonly leader: string;
  readonly sync: string;
  readonly route: string;
  readonly switchover: string;
  readonly config: string;
  readonly pause: string;
  readonly membersPrefix: string;
  readonly proxiesPrefix: string;
  readonly pledgesPrefix: string;
  readonly historyPrefix: string;
  readonly drillsPrefix: string;
  member(node: string): string;
  proxy(id: string): string;
  pledge(node: string): string;
  history(term: bigint): string;
  drill(id: string): string;
}

export function keysOf(cluster: string): Keys {
  const prefix = `/leasehold/v1/${cluster}/`;
  return {
    prefix,
    system: `${prefix}system`,
    term: `${prefix}term`,
    leader: `${prefix}leader`,
    sync: `${prefix}sync`,
    route: `${prefix}route`,
    switchover: `${prefix}switchover`,
    config: `${prefix}config`,
    pause: `${prefix}pause`,
    membersPrefix: `${prefix}members/`,
    proxiesPrefix: `${prefix}proxies/`,
    pledgesPrefix: `${prefix}pledge/`,
    historyPrefix: `${prefix}history/`,
    drillsPrefix: `${prefix}drill/`,
    member: (node) => `${prefix}members/${node}`,
    proxy: (id) => `${prefix}proxies/${id}`,
    pledge: (node) => `${prefix}pledge/${node}`,
    // Zero-padded, so that etcd's key order is the order of the terms.
    history: (term) => `${prefix}history/${term.toString().padStart(20, '0')}`,
    drill: (id) => `${prefix}drill/${id}`,
  };
}
