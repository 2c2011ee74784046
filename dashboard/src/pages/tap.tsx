import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import type { Tapped } from "../api/types";
import { duration, plural } from "../lib/format";
import { useStore } from "../lib/store";
import { session } from "../state/session";
import { Badge, Empty, Panel } from "../ui/parts";
import { Table, type Column } from "../ui/table";

const SCOPE = "gateway:tap";
const COUNT = 50;
const SECONDS = 60;

/** The next live requests, as data planes see them: without queries, bodies and secret values. */
export function TapPanel(): JSX.Element {
  const now = useStore(session);
  const allowed = now.state === "in" && now.session.scopes.includes(SCOPE);
  const [query, setQuery] = useState<string | null>(null);
  const [found, setFound] = useState<Tapped[]>([]);
  const [problem, setProblem] = useState("");
  useEffect(() => {
    if (query === null) return undefined;
    setFound([]);
    setProblem("");
    const source = new EventSource(`/api/v1/tap?${query}`);
    const end = (): void => {
      source.close();
      setQuery(null);
    };
    source.addEventListener("request", (event) =>
      setFound((before) => [JSON.parse((event as MessageEvent<string>).data) as Tapped, ...before].slice(0, COUNT)),
    );
    source.addEventListener("end", end);
    source.onerror = () => {
      setProblem("The tap was refused or has ended");
      end();
    };
    return () => source.close();
  }, [query]);
  const submit = (event: Event): void => {
    event.preventDefault();
    const form = new FormData(event.currentTarget as HTMLFormElement);
    const chosen = Object.fromEntries([...form].filter(([, value]) => String(value).trim()).map(([name, value]) => [name, String(value).trim()]));
    setQuery(String(new URLSearchParams({ ...chosen, count: String(COUNT), seconds: String(SECONDS) })));
  };
  return (
    <Panel title="Tap" aside={<span class="soft">the next requests that match, without secret values</span>}>
      {!allowed ? (
        <Empty>A tap shows what callers do. It needs a scope of its own: {SCOPE}.</Empty>
      ) : (
        <form class="explain" onSubmit={submit}>
          <label>
            Route
            <input name="route" placeholder="any" />
          </label>
          <label>
            Status
            <input name="status" placeholder="any, 503 or 5xx" size={14} />
          </label>
          {query === null ? (
            <button type="submit" class="primary">
              Watch for {duration(SECONDS)}
            </button>
          ) : (
            <button type="button" onClick={() => setQuery(null)}>
              Stop
            </button>
          )}
        </form>
      )}
      {problem && <p class="problem">{problem}</p>}
      {query !== null && found.length === 0 && <p class="soft">Waiting for a request …</p>}
      {found.length > 0 && (
        <Table label="Tapped requests" columns={COLUMNS} rows={found} id={(one) => one.request_id} empty={plural(0, "request")} />
      )}
    </Panel>
  );
}

const COLUMNS: Column<Tapped>[] = [
  { name: "Request", cell: (one) => <code>{`${one.method} ${one.path}`}</code> },
  { name: "Status", cell: (one) => <Badge tone={one.status >= 500 ? "critical" : one.status >= 400 ? "warning" : "ok"}>{one.status}</Badge> },
  { name: "Decision", cell: (one) => one.decision },
  { name: "Route", wide: true, cell: (one) => one.route || "–" },
  { name: "Took", numeric: true, cell: (one) => duration((one.duration_us ?? 0) / 1e6) },
  { name: "Data plane", wide: true, cell: (one) => one.dataplane },
];
