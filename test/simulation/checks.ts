import { decodeRecord, historyRecord, leaderRecord, pledgeRecord } from '../../election/store/records.ts';
import type { StoreSnapshot } from '../../election/store/port.ts';
import { keysOf } from '../../election/store/keys.ts';
import type { SimContext } from './context.ts';
import { CLUSTER, type SimNode } from './node.ts';
import type { SimPostgres } from './postgres.ts';
import type { WalEntry } from './wal.ts';

/**
 * The invariants of ELECTION.md, looked at from outside: what was acknowledged, by a server of which term, and what
 * stands in etcd. It knows nothing of the agents' states.
 */
export class Checks {
  /** Numbers whose commit some server acknowledged. */
  readonly acknowledged = new Set<number>();
  /** Those that an operator gave up by forced failovers: no leader need have them, and no copy of them may be erased. */
  readonly givenUp = new Set<number>();
  forced = 0;
  /** The greatest term that has let clients in or acknowledged something. */
  highestTerm = 0;
  lastAckMs = Number.NEGATIVE_INFINITY;
  failovers = 0;
  readonly #context: SimContext;
  readonly #nodes: ReadonlyMap<string, SimNode>;
  readonly #keys = keysOf(CLUSTER);
  #lastHeldTerm = 0;
  #holder: { readonly node: string; readonly createRevision: number; readonly term: number } | null = null;
  #termInStore = 0;
  #forcedTerm = 0;

  constructor(context: SimContext, nodes: ReadonlyMap<string, SimNode>) {
    this.#context = context;
    this.#nodes = nodes;
  }

  /** I1, I2: a server that leads in `term` acknowledges a client's commit. */
  acknowledge(node: string, term: number, value: number): void {
    // Behind a forced term only the deadline keeps an old leader from acknowledging: here it was tampered with.
    if (term < this.#forcedTerm && this.#isExcused(node)) return void this.givenUp.add(value);
    this.leads(node, term, `acknowledges ${value}`);
    this.acknowledged.add(value);
    this.lastAckMs = this.#context.scheduler.nowMs;
  }

  /** A server lets clients in. Where no clock told it that its lease is over, that is no fault yet: acknowledging would be one. */
  opens(node: string, term: number): void {
    if (term < this.highestTerm && this.#isExcused(node)) return;
    this.leads(node, term, 'lets clients in');
  }

  /** I1, I2: a server takes clients' writes, in the term for which it was promoted. */
  leads(node: string, term: number, what: string): void {
    if (term < this.highestTerm) {
      this.#context.violation('I1', `${node} of term ${term} ${what} after term ${this.highestTerm} took writes`);
    }
    if (term === this.highestTerm) return;
    this.failovers++;
    this.highestTerm = term;
    this.holdsEverything(node);
  }

  /** I2: nothing that was acknowledged is missing there. */
  holdsEverything(node: string): void {
    const { disk } = this.#context.postgres(node);
    const present = writesOf(disk.wal);
    const missing = [...this.acknowledged].filter((value) => !present.has(value));
    if (missing.length === 0) return;
    const some = missing.slice(0, 5).join(', ');
    this.#context.violation(
      'I2',
      `${missing.length} acknowledged writes are missing on the open leader ${node}: ${some}`,
    );
  }

  /** I11: nothing that was ever acknowledged goes with a copy that is replaced, unless the source has it. */
  erases(node: string, entries: readonly WalEntry[], source: SimPostgres): void {
    const present = writesOf(source.disk.wal);
    const erased = [...writesOf(entries)].filter(
      (value) => !present.has(value) && (this.acknowledged.has(value) || this.givenUp.has(value)),
    );
    if (erased.length === 0) return;
    const some = erased.slice(0, 5).join(', ');
    this.#context.violation(
      'I11',
      `${node} erases ${erased.length} acknowledged writes that ${source.node} lacks: ${some}`,
    );
  }

  /** A term began by force: what its leader lacks is given up, and nobody who was there may have had more. */
  #giveUp(node: string, term: number, snapshot: StoreSnapshot): void {
    this.forced++;
    this.#forcedTerm = term;
    const present = writesOf(this.#context.postgres(node).disk.wal);
    for (const other of this.#nodes.keys()) {
      const pledge = snapshot.keys.get(this.#keys.pledge(other));
      const record = pledge === undefined ? null : decodeRecord(pledgeRecord, pledge.value);
      if (record === null || Number(record.term) < term || !snapshot.keys.has(this.#keys.member(other))) continue;
      const more = [...writesOf(this.#context.postgres(other).disk.wal)].filter(
        (value) => this.acknowledged.has(value) && !present.has(value),
      );
      if (more.length > 0)
        this.#context.violation('I11', `term ${term} of ${node} is forced, and ${other} has ${more.length} more`);
    }
    for (const value of this.acknowledged) {
      if (present.has(value)) continue;
      this.acknowledged.delete(value);
      this.givenUp.add(value);
    }
    this.#context.trace.add('etcd', `term ${term} is forced; given up so far: ${this.givenUp.size}`);
  }

  /** I4, I10: something changed in etcd. */
  stored(snapshot: StoreSnapshot): void {
    this.#termGrows(snapshot);
    const stored = snapshot.keys.get(this.#keys.leader);
    const before = this.#holder;
    if (stored === undefined) {
      this.#holder = null;
      if (before !== null) this.#isDead(before.node);
      return;
    }
    const record = decodeRecord(leaderRecord, stored.value);
    if (record === null) return this.#context.violation('I4', `a leader key that cannot be read: ${stored.value}`);
    const term = Number(record.term);
    if (before !== null && before.createRevision === stored.createRevision) {
      if (before.node === record.node && before.term === term) return;
      this.#context.violation('I4', `${record.node} takes the leader key that ${before.node} holds`);
    }
    if (before !== null) this.#isDead(before.node);
    this.#context.trace.add('etcd', `leader ${record.node}, term ${term}`);
    this.#holder = { node: record.node, createRevision: stored.createRevision, term };
    if (term <= this.#lastHeldTerm) this.#context.violation('I4', `term ${term} held again, by ${record.node}`);
    this.#lastHeldTerm = term;
    const history = snapshot.keys.get(this.#keys.history(record.term));
    const began = history === undefined ? null : decodeRecord(historyRecord, history.value);
    if (began?.reason === 'forced') this.#giveUp(record.node, term, snapshot);
    if (began?.reason === 'failover' && snapshot.keys.has(this.#keys.pause))
      this.#context.violation('E14', `${record.node} takes over term ${term} while automatic failover is paused`);
  }

  #termGrows(snapshot: StoreSnapshot): void {
    const text = snapshot.keys.get(this.#keys.term)?.value;
    if (text === undefined) return;
    const term = Number(text);
    if (term < this.#termInStore)
      this.#context.violation('I4', `the term goes back from ${this.#termInStore} to ${term}`);
    this.#termInStore = term;
  }

  /** I10: whoever loses the leader key takes no writes any more, unless its watchdog or its clock was tampered with. */
  #isDead(name: string): void {
    const node = this.#nodes.get(name);
    if (node === undefined) return;
    this.#context.trace.add('etcd', `leader key of ${name} is gone`);
    if (node.postgres.acceptsWrites && !this.#isExcused(name)) {
      this.#context.violation('I10', `${name} lost the leader key and its PostgreSQL is open`);
    }
  }

  /** Its watchdog or its clock was tampered with: nobody can promise that it keeps a deadline. */
  #isExcused(name: string): boolean {
    const node = this.#nodes.get(name);
    return node === undefined || !node.watchdog.wasSound || Math.abs(node.options.clockRate - 1) > 0.02;
  }

  /** I6: at rest every node is on one timeline with the same content. Empty: so it is. */
  differences(): string[] {
    const leader = [...this.#nodes.values()].find((n) => n.postgres.acceptsWrites);
    if (leader === undefined) return ['no open leader'];
    const { disk } = leader.postgres;
    const found: string[] = [];
    for (const node of this.#nodes.values()) {
      if (node === leader) continue;
      const own = node.postgres;
      if (!own.running || !own.recovery) found.push(`${node.name} is no follower`);
      else if (own.disk.timeline !== disk.timeline) found.push(`${node.name} is on timeline ${own.disk.timeline}`);
      else if (own.disk.flushed !== disk.flushed || own.disk.wal[disk.flushed - 1] !== disk.wal[disk.flushed - 1]) {
        found.push(`${node.name} has ${own.disk.flushed} entries, ${leader.name} has ${disk.flushed}`);
      } else if (own.replayed !== disk.flushed) found.push(`${node.name} has not replayed everything`);
    }
    return found;
  }
}

function writesOf(wal: readonly WalEntry[]): Set<number> {
  const values = new Set<number>();
  for (const entry of wal) if (entry.kind === 'write') values.add(entry.value);
  return values;
}
