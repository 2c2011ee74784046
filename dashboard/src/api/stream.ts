// Streams of server-sent events, watched: a connection that is silent for longer than a beat is lost. They rest while
// the page is hidden: browsers allow six connections to a host, of all tabs together.
import { problemOf } from "./client";

const SILENCE = 25_000;
const HIDDEN = 30_000;
const SHORTEST = 1_000;
const LONGEST = 15_000;

export interface Connection {
  state: "connecting" | "live" | "lost";
  since: number;
  /** Why it is lost, if the control plane answers and says so; otherwise it does not answer. */
  reason?: string;
}

export interface StreamOptions {
  path: string;
  /** By the name of the event; called with the parsed data. */
  events: Record<string, (data: unknown) => void>;
  changed: (connection: Connection) => void;
  /** Called before the events of each connection: the server may begin anew. */
  opened?: () => void;
}

/** Milliseconds until the next attempt: longer each time, and spread, because all browsers lose it at once. */
export function pause(failures: number, random: () => number = Math.random): number {
  return Math.min(LONGEST, SHORTEST * 2 ** failures) * (0.5 + random() / 2);
}

/** Follow a stream until the returned function is called. */
export function follow(options: StreamOptions): () => void {
  const connection = new Following(options);
  let timer = 0;
  const turn = (): void => {
    window.clearTimeout(timer);
    if (document.hidden) timer = window.setTimeout(() => connection.close(), HIDDEN);
    else connection.open();
  };
  document.addEventListener("visibilitychange", turn);
  connection.open();
  return () => {
    document.removeEventListener("visibilitychange", turn);
    window.clearTimeout(timer);
    connection.close();
  };
}

class Following {
  private source: EventSource | null = null;
  private timer = 0;
  private failures = 0;
  private connection: Connection = { state: "connecting", since: Date.now() };

  constructor(private options: StreamOptions) {}

  open(): void {
    if (this.source !== null) return;
    const source = (this.source = new EventSource(this.options.path));
    let begun = false;
    this.await();
    source.onopen = () => {
      this.await();
      this.options.opened?.();
    };
    source.onerror = () => this.lose(begun);
    for (const [name, take] of Object.entries(this.options.events)) {
      source.addEventListener(name, (event) => {
        this.await();
        begun = true;
        this.failures = 0;
        this.become({ state: "live", since: Date.now() });
        take(JSON.parse((event as MessageEvent<string>).data));
      });
    }
    source.addEventListener("alive", () => this.await());
  }

  close(): void {
    window.clearTimeout(this.timer);
    this.source?.close();
    this.source = null;
  }

  private await(): void {
    window.clearTimeout(this.timer);
    this.timer = window.setTimeout(() => this.lose(true), SILENCE);
  }

  private lose(begun: boolean): void {
    this.close();
    this.become({ state: "lost", since: Date.now() });
    this.timer = window.setTimeout(() => this.open(), pause(this.failures++));
    // A refusal is not told to scripts, so it is asked for; a session that has ended is noticed thereby.
    if (!begun) void this.askWhy();
  }

  private async askWhy(): Promise<void> {
    const problem = await problemOf(this.options.path);
    if (problem?.status && this.connection.state === "lost") {
      this.connection = { ...this.connection, reason: problem.message };
      this.options.changed(this.connection);
    }
  }

  private become(next: Connection): void {
    if (this.connection.state === next.state) return;
    this.connection = next;
    this.options.changed(next);
  }
}
