// The last hour as a chart: requests and errors over time, with marks where the configuration was changed.
import type { ComponentChildren, JSX } from "preact";
import { useMemo } from "preact/hooks";
import type { ChangeRecord, Point } from "../api/types";
import { clock, duration, number } from "../lib/format";
import { href } from "../lib/route";

const WIDTH = 1000;
const HEIGHT = 90;

interface Props {
  points: Point[];
  step: number;
  changes: ChangeRecord[];
  /** The chosen moment in milliseconds; null: now. */
  at?: number | null;
  label: string;
  children?: ComponentChildren;
}

/** Consecutive points: a gap means that nothing was recorded. */
export function runs(points: Point[], step: number): Point[][] {
  const found: Point[][] = [];
  let before = Number.NEGATIVE_INFINITY;
  for (const point of points) {
    const at = Date.parse(point.at);
    const last = found.at(-1);
    if (last === undefined || at - before > 3000 * step) found.push([point]);
    else last.push(point);
    before = at;
  }
  return found;
}

export function HistoryChart({ children, ...rest }: Props): JSX.Element | null {
  const { points, step, changes, at = null, label } = rest;
  // Hundreds of points, drawn again only when there are new ones.
  const chart = useMemo(() => <Chart {...rest} />, [points, step, changes, at, label]);
  const [first, last] = [points[0], points.at(-1)];
  if (!first || !last || first === last) return null;
  return (
    <div class="history">
      {chart}
      {children}
      <p class="scale soft" aria-hidden="true">
        <span>{hour(Date.parse(first.at))}</span>
        <span class="legend">
          <i class="requests" /> requests <i class="client" /> refused and client errors <i class="server" /> server errors{" "}
          <i class="mark" /> changes
        </span>
        <span>{hour(Date.parse(last.at))}</span>
      </p>
    </div>
  );
}

function Chart({ points, step, changes, at = null, label }: Omit<Props, "children">): JSX.Element | null {
  const times = points.map((one) => Date.parse(one.at));
  const [begin = 0, end = 1] = [times[0], times.at(-1)];
  const most = Math.max(1e-9, ...points.map((one) => one.requests_per_second));
  const share = (time: number): number => (time - begin) / (end - begin);
  const x = (point: Point): string => (WIDTH * share(Date.parse(point.at))).toFixed(1);
  const area = (run: Point[], of: (point: Point) => number, tone: string): JSX.Element => {
    const line = run.map((one) => `${x(one)},${(HEIGHT * (1 - 0.95 * (of(one) / most))).toFixed(1)}`).join(" ");
    const [from, to] = [run[0] as Point, run.at(-1) as Point];
    return <polygon class={tone} points={`${x(from)},${HEIGHT} ${line} ${x(to)},${HEIGHT}`} />;
  };
  const inside = changes.filter((one) => Date.parse(one.time) >= begin && Date.parse(one.time) <= end);
  return (
    <div class="chart">
      <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" role="img" aria-label={`${label}, at most ${number(most)} requests a second`}>
        {runs(points, step).map((run) => (
          <g key={run[0]?.at}>
            {area(run, (one) => one.requests_per_second, "requests")}
            {area(run, (one) => one.client_errors_per_second + one.server_errors_per_second, "client")}
            {area(run, (one) => one.server_errors_per_second, "server")}
          </g>
        ))}
        {at !== null && <line class="cursor" x1={WIDTH * share(at)} x2={WIDTH * share(at)} y1="0" y2={HEIGHT} />}
      </svg>
      {inside.slice(0, 60).map((one) => (
        <a
          key={one.revision}
          class="mark"
          style={{ left: `${(100 * share(Date.parse(one.time))).toFixed(2)}%` }}
          href={href("changes", String(one.revision))}
          title={`${clock(one.time)}: revision ${one.revision} by ${one.author}: ${one.summary}`}
          aria-label={`Change ${one.revision} by ${one.author}: ${one.summary}`}
        />
      ))}
    </div>
  );
}

/** The time between the first and the last point, in whole minutes if it is some: "1 h". */
export function span(points: Point[]): string {
  const [first, last] = [points[0], points.at(-1)];
  if (!first || !last || first === last) return "";
  const seconds = (Date.parse(last.at) - Date.parse(first.at)) / 1000;
  return duration(seconds > 600 ? 60 * Math.round(seconds / 60) : seconds);
}

function hour(time: number): string {
  return new Date(time).toLocaleTimeString(undefined, { timeStyle: "short" });
}
