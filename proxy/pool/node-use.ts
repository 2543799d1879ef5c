/** What this proxy does on one node, over all pools. */
export interface NodeUse {
  /** Connections in use. */
  busy: number;
  /** Clients that wait for one. */
  waiting: number;
}
