// Streams of server-sent events, watched: a connection that is silent for longer than a beat is lost.

const SILENCE = 25_000;
const RETRY = 2_000;

export type Connection = { state: "connecting" | "live" | "lost"; since: number };

export interface StreamOptions {
  path: string;
  /** By the name of the event; called with the parsed data. */
  events: Record<string, (data: unknown) => void>;
  changed: (connection: Connection) => void;
}

/** Follow a stream until the returned function is called. */
export function follow({ path, events, changed }: StreamOptions): () => void {
  let source: EventSource | null = null;
  let timer = 0;
  let connection: Connection = { state: "connecting", since: Date.now() };

  const become = (state: Connection["state"]): void => {
    if (connection.state === state) return;
    connection = { state, since: Date.now() };
    changed(connection);
  };
  const lose = (): void => {
    source?.close();
    become("lost");
    window.clearTimeout(timer);
    timer = window.setTimeout(open, RETRY);
  };
  const alive = (): void => {
    window.clearTimeout(timer);
    timer = window.setTimeout(lose, SILENCE);
  };
  const open = (): void => {
    source = new EventSource(path);
    alive();
    source.onopen = alive;
    source.onerror = lose;
    for (const [name, take] of Object.entries(events)) {
      source.addEventListener(name, (event) => {
        alive();
        become("live");
        take(JSON.parse((event as MessageEvent<string>).data));
      });
    }
    source.addEventListener("alive", alive);
  };
  open();
  return () => {
    window.clearTimeout(timer);
    source?.close();
  };
}
