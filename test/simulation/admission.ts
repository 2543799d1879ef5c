import type { SimContext } from './context.ts';
import type { SimPostgres } from './postgres.ts';

/** Whom a follower follows, and in which of its terms: `primary_conninfo` and `primary_slot_name`. */
export interface Followed {
  readonly node: string;
  readonly term: number;
}

/** What its pg_hba.conf says of followers and copies. */
export class Door {
  /** Promoted, or started as a leader, in this life. */
  leads = false;
  /** Planted: everybody may connect, whether it leads or not. */
  always = false;
  /** Planted: no slot is asked for. */
  slotsAreLoose = false;
  /** Planted: a slot that was made once stays. */
  slotsStay = false;

  get open(): boolean {
    return this.leads || this.always;
  }
}

/** Its agent makes it a leader for this term. */
export function lead(server: SimPostgres, term: number): void {
  server.term = term;
  server.disk.led = new Set([...server.disk.led, term]);
}

export function slotOf(term: number, node: string): string {
  return `t${term}_${node}`;
}

/** pg_replication_slots made right for a term: who streams by one that goes is cut off. */
export function ensureSlots(server: SimPostgres, term: number, nodes: readonly string[]): void {
  const wanted = new Set(nodes.map((node) => slotOf(term, node)));
  if (server.door.slotsStay) for (const slot of server.disk.slots) wanted.add(slot);
  for (const [standby, sender] of server.senders) if (!wanted.has(slotOf(sender.term, standby))) sender.close();
  server.disk.slots = wanted;
}

/** Those by which nobody streams are lost: as good as none, until they are made anew. */
export function loseSlots(server: SimPostgres): void {
  const used = [...server.senders].map(([standby, sender]) => slotOf(sender.term, standby));
  server.disk.slots = new Set([...server.disk.slots].filter((slot) => used.includes(slot)));
}

/** What its pg_hba.conf and its slots say; null: welcome. */
export function refusal(server: SimPostgres, standby: string, term: number): string | null {
  if (!server.door.open) return 'pg_hba.conf rejects replication';
  if (server.door.slotsAreLoose) return null;
  return server.disk.slots.has(slotOf(term, standby)) ? null : 'its slot does not exist';
}

/** S8: nothing is taken from a server that does not lead. */
export function mustLead(context: SimContext, taker: string, source: SimPostgres): void {
  if (!source.door.leads) context.violation('S8', `${taker} takes WAL from ${source.node}, which does not lead`);
}

/** S8: who streams has agreed to a term that this very data directory has led; else equal numbers mean nothing. */
export function mustHaveLed(context: SimContext, standby: string, leader: SimPostgres, term: number): void {
  mustLead(context, standby, leader);
  if (leader.disk.led.has(term)) return;
  context.violation(
    'S8',
    `${standby} follows term ${term} of ${leader.node}, whose data are not of that term's leader`,
  );
}
