import { Door, type Followed } from './admission.ts';
import { CommitQueue } from './commits.ts';
import type { SimContext } from './context.ts';
import { SimProcess } from './process.ts';
import { Receiver, type Sender } from './replication.ts';
import { emptyDisk, lsnAt, type TimelineEnd, type WalEntry } from './wal.ts';

/** An operation's end: its result, or why it failed. */
export type Done<T = void> = (
  result: { readonly ok: true; readonly value: T } | { readonly ok: false; readonly error: string },
) => void;

/**
 * One PostgreSQL server: WAL on disk, recovery, streaming, quorum commit, promotion. It knows nothing of leases, and does
 * what PostgreSQL does, mistakes of judgement (timelines with the same number) included.
 */
export class SimPostgres {
  readonly node: string;
  readonly process = new SimProcess();
  readonly disk = emptyDisk();
  readonly senders = new Map<string, Sender>();
  receiver: Receiver | null = null;
  recovery = false;
  open = false;
  ready = false;
  /** Entries of the WAL that queries show. */
  replayed = 0;
  /** Whether a WAL receiver has run in this life: before, only what is replayed is known to be there. */
  received = false;
  /** Of a record whose rest never came. */
  partialBytes = 0;
  /** How long a start goes on replaying what is on the disk after it answers queries. Planted: the real one waits. */
  slowRecoveryMs = 0;
  readonly door = new Door();
  peer: Followed | null = null;
  pid = 0;
  /** The term for which its agent made it a leader; 0: none. It does not know. */
  term = 0;
  onExit: () => void = () => {};
  /** Clients are let in to a leader. */
  onOpen: (term: number) => void = () => {};
  readonly #commits = new CommitQueue();
  readonly #context: SimContext;

  constructor(context: SimContext, node: string) {
    this.#context = context;
    this.node = node;
  }

  get running(): boolean {
    return this.process.alive;
  }

  /** Would acknowledge a client's commit if the quorum allows. */
  get acceptsWrites(): boolean {
    return this.running && this.ready && this.open && !this.recovery;
  }

  launch(role: 'leader' | 'follower', peer: Followed | null, done: Done): void {
    if (this.running) return done({ ok: false, error: 'already running' });
    if (this.disk.kind !== 'data') return done({ ok: false, error: 'no data' });
    const { scheduler, random } = this.#context;
    this.process.start();
    this.pid++;
    this.ready = false;
    this.open = false;
    this.recovery = role === 'follower';
    this.door.leads = !this.recovery;
    this.peer = peer;
    this.disk.standby = this.recovery;
    this.replayed = 0;
    this.partialBytes = 0;
    this.term = 0;
    const life = this.process.life;
    const once = this.#untilDeath(done, { ok: false, error: 'died while starting' });
    scheduler.after(random.between(60, this.disk.clean ? 150 : 400), () =>
      this.process.deliver(life, () => {
        this.ready = true;
        this.disk.clean = false;
        this.received = false;
        if (this.recovery && this.slowRecoveryMs > 0) this.#replaySlowly(life);
        else this.#recovered();
        once({ ok: true, value: undefined });
      }),
    );
  }

  #recovered(): void {
    this.replayed = this.disk.flushed;
    if (this.recovery) this.connectSoon(0);
  }

  #replaySlowly(life: number): void {
    this.replayed = this.disk.flushed >> 1;
    this.#context.scheduler.after(this.slowRecoveryMs, () => this.process.deliver(life, () => this.#recovered()));
  }

  /** SIGKILL, by whoever. What was not flushed is gone. */
  die(why: string): void {
    if (!this.running) return;
    this.#context.trace.add(this.node, `postgres dies: ${why}`);
    this.process.kill();
    this.#end();
  }

  #end(): void {
    this.ready = false;
    this.open = false;
    this.#commits.clear();
    this.disk.wal.length = this.disk.flushed;
    this.receiver?.close('server gone');
    this.receiver = null;
    for (const sender of this.senders.values()) sender.close();
    this.senders.clear();
    this.onExit();
  }

  stop(mode: 'fast' | 'immediate', done: Done): void {
    if (!this.running) return done({ ok: true, value: undefined });
    const { scheduler, random } = this.#context;
    const life = this.process.life;
    this.#untilDeath(done, { ok: true, value: undefined });
    scheduler.after(random.between(1, 5), () =>
      this.process.deliver(life, () => {
        if (mode === 'immediate') return this.die('SIGQUIT');
        this.setOpen(false);
        if (this.recovery || !this.ready) return this.#exitCleanly();
        this.#append('shutdown', 0);
        scheduler.after(random.between(20, 60), () =>
          this.process.deliver(life, () => {
            this.#flushAll();
            this.#exitWhenShipped(life, scheduler.nowMs + 5000);
          }),
        );
      }),
    );
  }

  /** A fast stop ends when every connected standby has what there is, or is given up. */
  #exitWhenShipped(life: number, giveUpAtMs: number): void {
    const { scheduler } = this.#context;
    const behind = [...this.senders.values()].some((s) => s.acknowledged < this.disk.flushed);
    if (!behind || scheduler.nowMs >= giveUpAtMs) return this.#exitCleanly();
    scheduler.after(5, () => this.process.deliver(life, () => this.#exitWhenShipped(life, giveUpAtMs)));
  }

  #exitCleanly(): void {
    this.disk.clean = true;
    this.disk.controlTimeline = this.disk.timeline;
    this.#context.trace.add(this.node, 'postgres stopped');
    this.process.kill();
    this.#end();
  }

  killNow(done: Done): void {
    const { scheduler, random } = this.#context;
    const life = this.process.life;
    scheduler.after(random.between(1, 8), () => {
      if (this.process.life === life) this.die('SIGKILL');
      done({ ok: true, value: undefined });
    });
  }

  /** Runs inside the server after a while, if it then still lives; fails when it has died. */
  perform<T>(lowMs: number, highMs: number, done: Done<T>, work: () => T | null, refusal = 'refused'): void {
    const { scheduler, random } = this.#context;
    if (!this.running || !this.ready) return done({ ok: false, error: 'not running' });
    const life = this.process.life;
    const once = this.#untilDeath(done, { ok: false, error: 'the server died' });
    scheduler.after(random.between(lowMs, highMs), () =>
      this.process.deliver(life, () => {
        const value = work();
        once(value === null ? { ok: false, error: refusal } : { ok: true, value });
      }),
    );
  }

  /** `done`, called once: by whoever calls the result, or with `atDeath` when the server dies before. */
  #untilDeath<T>(done: Done<T>, atDeath: Parameters<Done<T>>[0]): Done<T> {
    let ended = false;
    const once: Done<T> = (result) => {
      if (ended) return;
      ended = true;
      takeBack();
      done(result);
    };
    const takeBack = this.process.whenDead(() => once(atDeath));
    return once;
  }

  follow(peer: Followed | null, done: Done): void {
    if (!this.running) {
      this.peer = peer;
      return done({ ok: true, value: undefined });
    }
    this.perform(4, 12, done, () => {
      if (this.peer?.node !== peer?.node || this.peer?.term !== peer?.term) {
        this.peer = peer;
        this.receiver?.close('told to follow another');
        this.receiver = null;
      }
      if (peer !== null) this.connectSoon(0);
      return undefined;
    });
  }

  connectSoon(delayMs: number): void {
    const life = this.process.life;
    this.#context.scheduler.after(delayMs, () =>
      this.process.deliver(life, () => {
        if (!this.recovery || !this.ready || this.peer === null || this.receiver !== null) return;
        const leader = this.#context.postgres(this.peer.node);
        this.receiver = new Receiver(this.#context, this, leader, this.peer.term);
      }),
    );
  }

  promote(done: Done<{ readonly timeline: number; readonly nextXid: string }>): void {
    this.perform(
      15,
      50,
      done,
      () => {
        if (!this.recovery) return null;
        this.receiver?.close('promotion');
        this.receiver = null;
        this.disk.wal.length = this.disk.flushed;
        this.partialBytes = 0;
        const ended: TimelineEnd = { timeline: this.disk.timeline, endLsn: lsnAt(this.disk, this.disk.flushed) };
        this.disk.history = [...this.disk.history, ended];
        this.disk.knownTimeline = Math.max(this.disk.knownTimeline, this.disk.timeline) + 1;
        this.disk.timeline = this.disk.knownTimeline;
        this.disk.standby = false;
        this.recovery = false;
        this.door.leads = true;
        this.#append('promote', 0);
        this.#flushAll();
        return { timeline: this.disk.timeline, nextXid: String(this.disk.wal.length) };
      },
      'not in recovery',
    );
  }

  setSynchronous(names: readonly string[], k: number, done: Done): void {
    this.perform(3, 15, done, () => {
      this.disk.syncNames = [...names];
      this.disk.syncK = k;
      this.releaseWaiting();
      return undefined;
    });
  }

  /** Appends, flushes, and acknowledges when the quorum has it. `acknowledge` runs inside the server. */
  commit(kind: 'write' | 'term', value: number, acknowledge: () => void): void {
    const { scheduler, random } = this.#context;
    const life = this.process.life;
    const count = this.#append(kind, value);
    scheduler.after(random.between(0.2, 2), () =>
      this.process.deliver(life, () => {
        if (this.recovery || count > this.disk.wal.length) return;
        this.disk.flushed = Math.max(this.disk.flushed, count);
        this.replayed = this.disk.flushed;
        this.#commits.add({ count, client: kind === 'write', acknowledge });
        for (const sender of this.senders.values()) sender.pump();
        this.releaseWaiting();
      }),
    );
  }

  releaseWaiting(): void {
    this.#commits.release((count) => this.#quorumHas(count));
  }

  setOpen(open: boolean): void {
    this.open = open;
    if (!open) this.#commits.dropClients();
    else if (!this.recovery) this.onOpen(this.term);
  }

  #quorumHas(count: number): boolean {
    const { syncNames, syncK } = this.disk;
    if (syncNames.length === 0) return true;
    let have = 0;
    for (const name of syncNames) if ((this.senders.get(name)?.acknowledged ?? 0) >= count) have++;
    return have >= syncK;
  }

  #append(kind: WalEntry['kind'], value: number): number {
    const size = 8n * BigInt(8 + this.#context.random.below(60));
    const endLsn = lsnAt(this.disk, this.disk.wal.length) + size;
    this.disk.wal.push({ timeline: this.disk.timeline, endLsn, kind, value });
    return this.disk.wal.length;
  }

  #flushAll(): void {
    this.disk.flushed = this.disk.wal.length;
    this.replayed = this.disk.flushed;
    for (const sender of this.senders.values()) sender.pump();
  }
}
