import { type Followed, mustHaveLed, refusal } from './admission.ts';
import type { SimContext } from './context.ts';
import type { SimPostgres } from './postgres.ts';
import { lsnAt, sharesContent, streamFrom, type TimelineEnd, type WalEntry } from './wal.ts';

/** wal_sender_timeout and wal_receiver_timeout. */
const SILENCE_MS = 5000;
const STATUS_INTERVAL_MS = 1000;
const RETRANSMIT_MS = 40;
const RECONNECT_MS = 100;

interface Batch {
  /** Entries before it. */
  readonly from: number;
  readonly entries: readonly WalEntry[];
  readonly history: readonly TimelineEnd[];
}

/**
 * A standby's WAL receiver and its connection. Bytes in flight are not lost by a partition, they come late (TCP);
 * each end gives up after a silence of `SILENCE_MS` by itself.
 */
export class Receiver {
  readonly leader: SimPostgres;
  streaming = false;
  #open = true;
  #sender: Sender | null = null;
  #heardMs: number;
  readonly #own: SimPostgres;
  readonly #context: SimContext;
  readonly #life: number;
  /** By the slot of which term it asks. */
  readonly #term: number;

  constructor(context: SimContext, own: SimPostgres, leader: SimPostgres, term: number) {
    this.#context = context;
    this.#own = own;
    this.leader = leader;
    this.#term = term;
    this.#life = own.process.life;
    this.#heardMs = context.scheduler.nowMs;
    this.#connect();
    this.#watch();
  }

  get open(): boolean {
    return this.#open;
  }

  #connect(): void {
    const { network, scheduler } = this.#context;
    const { node } = this.leader;
    // No answer at all: the silence below ends it.
    network.send(this.#own.node, node, () => {
      if (!this.#open) return;
      if (!this.leader.process.alive || !this.leader.ready) {
        return network.send(node, this.#own.node, () => this.close('connection refused'));
      }
      this.leader.process.deliver(this.leader.process.life, () => {
        if (!this.#open) return;
        const refused = refusal(this.leader, this.#own.node, this.#term);
        if (refused !== null) return network.send(node, this.#own.node, () => this.close(refused));
        const { disk } = this.#own;
        const from = streamFrom(this.leader.disk, disk.timeline, lsnAt(disk, disk.flushed));
        if (from === null || this.leader.disk.systemId !== disk.systemId) {
          return network.send(node, this.#own.node, () => this.close('position not in its history'));
        }
        mustHaveLed(this.#context, this.#own.node, this.leader, this.#term);
        const sender = new Sender(this.#context, this.leader, this, { node: this.#own.node, term: this.#term }, from);
        this.#sender = sender;
        network.send(node, this.#own.node, () => this.deliver(() => this.#accepted(from)));
        scheduler.after(network.delay(), () => sender.pump());
      });
    });
  }

  #accepted(from: number): void {
    const { disk, node } = this.#own;
    this.#heardMs = this.#context.scheduler.nowMs;
    if (this.streaming) return;
    this.streaming = true;
    this.#own.received = true;
    // The history files of the leader's timeline come first.
    disk.knownTimeline = Math.max(disk.knownTimeline, this.leader.disk.timeline);
    const at = `${disk.timeline}/${lsnAt(disk, disk.flushed)}`;
    if (from !== disk.flushed || !sharesContent(this.leader.disk, disk, from)) {
      this.#context.violation('S8', `${node} at ${at} streams over WAL that ${this.leader.node} does not have`);
    }
    this.#context.trace.add(node, `streams from ${this.leader.node} at ${at}`);
  }

  /** Runs inside the standby, if this is still its receiver. */
  deliver(run: () => void): void {
    this.#own.process.deliver(this.#life, () => {
      if (this.#open && this.#own.receiver === this) run();
    });
  }

  receive(batch: Batch): void {
    const { scheduler, random } = this.#context;
    const { disk } = this.#own;
    this.#accepted(batch.from);
    if (batch.from !== disk.wal.length) return this.close('a gap in the stream');
    this.#own.partialBytes = 0;
    for (const entry of batch.entries) {
      disk.wal.push(entry);
      if (entry.timeline !== disk.timeline) {
        disk.history = batch.history.filter((h) => h.timeline < entry.timeline);
        disk.timeline = entry.timeline;
        disk.knownTimeline = Math.max(disk.knownTimeline, entry.timeline);
      }
    }
    const count = disk.wal.length;
    scheduler.after(random.between(0.1, 1), () =>
      this.deliver(() => {
        disk.flushed = Math.max(disk.flushed, count);
        this.#acknowledge();
        scheduler.after(random.between(0.1, 5), () => this.#replayTo(count));
      }),
    );
  }

  #replayTo(count: number): void {
    this.#own.process.deliver(this.#life, () => {
      if (this.#own.recovery)
        this.#own.replayed = Math.max(this.#own.replayed, Math.min(count, this.#own.disk.flushed));
    });
  }

  #acknowledge(): void {
    const sender = this.#sender;
    if (sender === null) return;
    const { network, scheduler } = this.#context;
    const flushed = this.#own.disk.flushed;
    const replayed = this.#own.replayed;
    const send = (): void => {
      if (!sender.open) return;
      // An acknowledgement that was sent arrives, even when the sender of it has gone meanwhile.
      if (network.open(this.#own.node, this.leader.node)) sender.acknowledge(flushed, replayed);
      else scheduler.after(RETRANSMIT_MS, send);
    };
    scheduler.after(network.delay(), send);
  }

  /** Status messages and the end after a silence. */
  #watch(): void {
    const { network, scheduler } = this.#context;
    scheduler.after(STATUS_INTERVAL_MS, () => {
      if (!this.#open) return;
      const { process } = this.#own;
      if (this.#sender !== null && process.active) {
        if (network.open(this.#own.node, this.leader.node)) this.#acknowledge();
        if (this.leader.process.active && this.#sender.open && network.open(this.leader.node, this.#own.node)) {
          this.#heardMs = scheduler.nowMs;
        }
      }
      if (process.active && scheduler.nowMs - this.#heardMs > SILENCE_MS) return this.close('silence');
      this.#watch();
    });
  }

  /** Ends the connection; the standby tries again after a while if it is still to follow. */
  close(why: string): void {
    if (!this.#open) return;
    this.#open = false;
    const { network } = this.#context;
    const sender = this.#sender;
    if (sender !== null) network.send(this.#own.node, this.leader.node, () => sender.close());
    if (this.#own.receiver !== this) return;
    this.#own.receiver = null;
    // What was cut off may end in the middle of a record: flushed, and never replayed.
    if (this.streaming && this.#context.random.chance(0.3))
      this.#own.partialBytes = 8 * (1 + this.#context.random.below(7));
    // What had been written but not flushed stays with the operating system; the server flushes before it goes on.
    if (this.#own.process.life === this.#life && this.#own.running) this.#own.disk.flushed = this.#own.disk.wal.length;
    if (this.streaming) this.#context.trace.add(this.#own.node, `no longer streams from ${this.leader.node}: ${why}`);
    this.#own.connectSoon(RECONNECT_MS);
  }
}

/** The leader's WAL sender for one standby. */
export class Sender {
  open = true;
  /** By the slot of which term it streams. */
  readonly term: number;
  /** Entries of the leader's WAL that the standby says it has flushed (replayed). */
  acknowledged = 0;
  replayed = 0;
  #sent: number;
  #inFlight = false;
  #heardMs: number;
  readonly #leader: SimPostgres;
  readonly #receiver: Receiver;
  readonly #standby: string;
  readonly #life: number;
  readonly #context: SimContext;

  constructor(context: SimContext, leader: SimPostgres, receiver: Receiver, standby: Followed, from: number) {
    this.#context = context;
    this.#leader = leader;
    this.#receiver = receiver;
    this.#standby = standby.node;
    this.term = standby.term;
    this.#life = leader.process.life;
    this.#sent = from;
    this.#heardMs = context.scheduler.nowMs;
    leader.senders.get(standby.node)?.close();
    leader.senders.set(standby.node, this);
    this.#watch();
  }

  #watch(): void {
    this.#context.scheduler.after(STATUS_INTERVAL_MS, () => {
      if (!this.open) return;
      if (this.#leader.process.active) {
        if (this.#context.scheduler.nowMs - this.#heardMs > SILENCE_MS) return this.close();
        this.pump();
      }
      this.#watch();
    });
  }

  /** Sends what is flushed and not sent yet, one batch at a time. */
  pump(): void {
    if (!this.open || this.#inFlight || !this.#leader.process.active) return;
    const { disk } = this.#leader;
    if (disk.flushed <= this.#sent) return;
    this.#inFlight = true;
    const batch = { from: this.#sent, entries: disk.wal.slice(this.#sent, disk.flushed), history: disk.history };
    this.#arrive(batch, this.#context.network.delay());
  }

  #arrive(batch: Batch, delayMs: number): void {
    const { network, scheduler } = this.#context;
    scheduler.after(delayMs, () => {
      if (!this.open || !this.#receiver.open) return;
      if (!network.open(this.#leader.node, this.#standby)) return this.#arrive(batch, RETRANSMIT_MS);
      this.#sent = batch.from + batch.entries.length;
      this.#inFlight = false;
      this.#receiver.deliver(() => this.#receiver.receive(batch));
      this.#leader.process.deliver(this.#life, () => this.pump());
    });
  }

  acknowledge(flushed: number, replayed: number): void {
    this.#leader.process.deliver(this.#life, () => {
      if (!this.open) return;
      this.#heardMs = this.#context.scheduler.nowMs;
      this.acknowledged = Math.max(this.acknowledged, flushed);
      this.replayed = Math.max(this.replayed, replayed);
      this.#leader.releaseWaiting();
      this.pump();
    });
  }

  close(): void {
    if (!this.open) return;
    this.open = false;
    if (this.#leader.senders.get(this.#standby) === this) this.#leader.senders.delete(this.#standby);
    const { network } = this.#context;
    network.send(this.#leader.node, this.#standby, () => this.#receiver.close('the leader closed it'));
  }
}
