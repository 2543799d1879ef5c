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
  /** Outside of `prefix`: every process reads that again each second, and reports of drills are long. */
  readonly drillsPrefix: string;
  /** The drill that runs now, on the lease of the proxy that runs it. */
  readonly runningDrill: string;
  /** Which windows of `drills.schedule` have had their drill. */
  readonly drillSchedule: string;
  member(node: string): string;
  proxy(id: string): string;
  pledge(node: string): string;
  history(term: bigint): string;
  drill(id: string): string;
}

export function keysOf(cluster: string): Keys {
  const prefix = `/leasehold/v1/${cluster}/`;
  // No cluster's name has a dot.
  const drills = `/leasehold/v1/${cluster}.drills/`;
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
    drillsPrefix: `${drills}drill/`,
    runningDrill: `${drills}running`,
    drillSchedule: `${drills}schedule`,
    member: (node) => `${prefix}members/${node}`,
    proxy: (id) => `${prefix}proxies/${id}`,
    pledge: (node) => `${prefix}pledge/${node}`,
    // Zero-padded, so that etcd's key order is the order of the terms.
    history: (term) => `${prefix}history/${term.toString().padStart(20, '0')}`,
    drill: (id) => `${drills}drill/${id}`,
  };
}
