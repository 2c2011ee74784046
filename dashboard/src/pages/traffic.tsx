import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import type { ChangeRecord, Traffic, TrafficHistory } from "../api/types";
import { ago, clock, duration, number, percent } from "../lib/format";
import { useLoad, useNow, useTitle } from "../lib/hooks";
import { total as sum } from "../lib/reasons";
import { useStore } from "../lib/store";
import { fleet, skew } from "../state/fleet";
import { traffic } from "../state/traffic";
import { HistoryChart, span } from "../ui/history";
import { Failure, Figure, Loading, Panel, Same } from "../ui/parts";
import { ReasonsPanel } from "../ui/reasons";
import { latency } from "./fleet";
import { LimitsPanel, TrafficMap } from "./map";

const RENEW = 10_000;
const SETTLE = 150;
const NONE: ChangeRecord[] = [];

export function TrafficPage(): JSX.Element {
  useTitle("Traffic");
  const live = useStore(traffic);
  const [at, setAt] = useState<number | null>(null);
  const history = useLoad<TrafficHistory>("/api/v1/traffic/history", RENEW);
  const past = usePast(at);
  if (live === null) return <Loading />;
  const shown = at === null ? live : (past.data ?? live);
  const { total } = shown;
  return (
    <>
      <div class="heading">
        <h1>Traffic</h1>
        <span class="soft" aria-live="polite">
          {at === null ? `over the last ${duration(live.every)}` : past.data ? <Moment at={shown.at} /> : "loading …"}
        </span>
        {at !== null && (
          <button type="button" onClick={() => setAt(null)}>
            Live
          </button>
        )}
      </div>
      {at !== null && past.error && <Failure error={past.error} />}
      <Hour history={history.data} at={at} move={setAt} />
      <dl class="figures">
        <Figure label="Requests a second" value={number(total.requests_per_second)} />
        <Figure
          label="Server errors"
          value={percent(total.error_share)}
          note={`${number(total.server_errors_per_second)} a second`}
          {...(total.error_share > 0.01 ? { tone: "warning" as const } : {})}
        />
        <Figure
          label="Refused or failed"
          value={number(sum(total.refusals))}
          note={`a second; ${number(total.client_errors_per_second)} client errors in all`}
        />
        <Figure label="Latency p50 / p99" value={latency(total)} note="of forwarded requests" />
      </dl>
      <TrafficMap traffic={shown} />
      <ReasonsPanel title="Refused and failed requests" now={total.refusals} history={history.data} />
      <LimitsPanel limits={shown.limits} routes={shown.routes} />
      <Same command="headgate top" />
    </>
  );
}

function Moment({ at }: { at: string }): JSX.Element {
  const now = useNow() + skew;
  return (
    <>
      {clock(at)}, {ago(at, now)}
    </>
  );
}

/** The recorded traffic at a moment; the slider may still move. */
function usePast(at: number | null): ReturnType<typeof useLoad<Traffic>> {
  const [asked, setAsked] = useState(at);
  useEffect(() => {
    if (at === null) return setAsked(null);
    const timer = window.setTimeout(() => setAsked(at), SETTLE);
    return () => window.clearTimeout(timer);
  }, [at]);
  return useLoad<Traffic>(asked === null ? null : `/api/v1/traffic?at=${new Date(asked).toISOString()}`);
}

interface HourProps {
  history: TrafficHistory | undefined;
  at: number | null;
  move: (at: number | null) => void;
}

function Hour({ history, at, move }: HourProps): JSX.Element | null {
  const revision = useStore(fleet)?.head.revision;
  const changes = useLoad<ChangeRecord[]>("/api/v1/history?limit=60", 0, [revision]);
  const points = history?.points ?? [];
  const [first, last] = [points[0], points.at(-1)];
  if (!history || !first || !last || first === last) return null;
  const [begin, end] = [Date.parse(first.at), Date.parse(last.at)];
  const step = history.step * 1000;
  return (
    <Panel title={`The last ${span(points)}`} aside={<span class="soft">as this control plane recorded it</span>}>
      <HistoryChart points={points} step={history.step} changes={changes.data ?? NONE} at={at} label="Traffic of the whole gateway">
        <input
          type="range"
          class="moment"
          aria-label="Moment to look at"
          aria-valuetext={at === null ? "now" : clock(new Date(at).toISOString())}
          min={begin}
          max={end}
          step={step}
          value={at ?? end}
          onInput={(event) => {
            const value = Number(event.currentTarget.value);
            move(value > end - step ? null : value);
          }}
        />
      </HistoryChart>
    </Panel>
  );
}
