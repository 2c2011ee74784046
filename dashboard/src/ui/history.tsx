// The last hour as a chart: requests and errors over time, with marks where the configuration was changed.
import type { ComponentChildren, JSX } from "preact";
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

export function HistoryChart({ points, step, changes, at = null, label, children }: Props): JSX.Element | null {
  const [first, last] = [points[0], points.at(-1)];
  if (!first || !last || first === last) return null;
  const [begin, end] = [Date.parse(first.at), Date.parse(last.at)];
  const share = (time: number): number => (time - begin) / (end - begin);
  const most = Math.max(1e-9, ...points.map((one) => one.requests_per_second));
  const line = (run: Point[], of: (point: Point) => number): string =>
    run.map((one) => `${(WIDTH * share(Date.parse(one.at))).toFixed(1)},${(HEIGHT * (1 - 0.95 * (of(one) / most))).toFixed(1)}`).join(" ");
  const area = (run: Point[], of: (point: Point) => number, tone: string): JSX.Element => {
    const [from, to] = [run[0], run.at(-1)].map((one) => (WIDTH * share(Date.parse((one as Point).at))).toFixed(1));
    return <polygon class={tone} points={`${from},${HEIGHT} ${line(run, of)} ${to},${HEIGHT}`} />;
  };
  const inside = changes.filter((one) => Date.parse(one.time) >= begin && Date.parse(one.time) <= end);
  return (
    <div class="history">
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
      {children}
      <p class="scale soft" aria-hidden="true">
        <span>{hour(begin)}</span>
        <span class="legend">
          <i class="requests" /> requests <i class="client" /> refused and client errors <i class="server" /> server errors{" "}
          <i class="mark" /> changes
        </span>
        <span>{hour(end)}</span>
      </p>
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
