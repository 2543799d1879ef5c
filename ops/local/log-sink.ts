import { createWriteStream, existsSync, renameSync, rmSync, statSync, type WriteStream } from 'node:fs';
import { join } from 'node:path';
import {
  formatEvent,
  LEVEL_ERROR,
  LEVEL_INFO,
  LEVEL_WARN,
  type LogEvent,
  parseEvent,
  Repeats,
} from '../format/events.ts';

export interface LogSinkOptions {
  readonly dir: string;
  /** `pretty` for people, `json` (one record a line) for programs. */
  readonly style: 'pretty' | 'json';
  readonly color: boolean;
  readonly write: (line: string) => void;
}

const MAX_FILE_BYTES = 8 * 1024 * 1024;

/**
 * Where the children's output goes: whole into a file each (`log/<name>.log`, two generations of at most 8 MB), and
 * what people should see to the terminal, in one readable form and never in floods.
 */
export class LogSink {
  readonly #options: LogSinkOptions;
  readonly #files = new Map<string, BoundedFile>();
  readonly #repeats = new Repeats();
  readonly #recent = new Map<string, string[]>();
  #minLevel = LEVEL_ERROR;

  constructor(options: LogSinkOptions) {
    this.#options = options;
  }

  /** While it starts, the progress lines tell enough: events below a warning go to the files only. */
  setLive(live: boolean): void {
    this.#minLevel = live ? LEVEL_INFO : LEVEL_ERROR;
  }

  line(name: string, line: string): void {
    this.#file(name).write(`${line}\n`);
    const event = parseEvent(line);
    const recent = this.#recent.get(name) ?? [];
    recent.push(event === null ? line : formatEvent(event, { color: false }));
    if (recent.length > 15) recent.shift();
    this.#recent.set(name, recent);
    if (event !== null) this.#show(event, line);
  }

  /** An event of `up` itself. */
  own(level: 'info' | 'warn' | 'error', event: string, message: string): void {
    const number = { info: LEVEL_INFO, warn: LEVEL_WARN, error: LEVEL_ERROR }[level];
    const record = { level: number, time: new Date().toISOString(), component: 'up', event, msg: message };
    this.line('up', JSON.stringify(record));
  }

  /** The last lines of a child, for the message that says why it does not start. */
  recent(name: string): readonly string[] {
    return this.#recent.get(name) ?? [];
  }

  async close(): Promise<void> {
    await Promise.all([...this.#files.values()].map((file) => file.close()));
  }

  #show(event: LogEvent, line: string): void {
    if (event.level < this.#minLevel) return;
    const kind = `${event.component} ${event.event ?? event.message}`;
    const { show, hidden } = this.#repeats.admit(kind, performance.now());
    if (hidden > 0 && this.#options.style === 'pretty') {
      this.#options.write(`             ${event.component.padEnd(8)} (${hidden} more "${event.message}" not shown)`);
    }
    if (!show) return;
    this.#options.write(this.#options.style === 'json' ? line : formatEvent(event, { color: this.#options.color }));
  }

  #file(name: string): BoundedFile {
    let file = this.#files.get(name);
    if (file === undefined) {
      file = new BoundedFile(join(this.#options.dir, `${name}.log`));
      this.#files.set(name, file);
    }
    return file;
  }
}

/** Appends to a file; at its maximum the file becomes `<file>.1` and a new one begins. Lines are dropped, and counted, while the disk lags. */
class BoundedFile {
  readonly #path: string;
  #stream: WriteStream;
  #bytes: number;
  #dropped = 0;

  constructor(path: string) {
    this.#path = path;
    this.#bytes = existsSync(path) ? statSync(path).size : 0;
    this.#stream = this.#open();
  }

  write(text: string): void {
    if (this.#stream.writableLength > 1024 * 1024) {
      this.#dropped++;
      return;
    }
    if (this.#bytes > MAX_FILE_BYTES) this.#rotate();
    const note = this.#dropped === 0 ? '' : `(${this.#dropped} lines dropped)\n`;
    this.#dropped = 0;
    this.#bytes += Buffer.byteLength(text) + note.length;
    this.#stream.write(note + text);
  }

  close(): Promise<void> {
    return new Promise((resolve) => {
      if (this.#stream.destroyed) resolve();
      else this.#stream.end(() => resolve());
    });
  }

  #open(): WriteStream {
    const stream = createWriteStream(this.#path, { flags: 'a', mode: 0o600 });
    // A full disk must not stop the cluster: its log is lost, nothing else.
    stream.on('error', () => {});
    return stream;
  }

  #rotate(): void {
    this.#stream.end();
    try {
      rmSync(`${this.#path}.1`, { force: true });
      renameSync(this.#path, `${this.#path}.1`);
    } catch {
      // Removed by somebody: a new one begins below.
    }
    this.#bytes = 0;
    this.#stream = this.#open();
  }
}
