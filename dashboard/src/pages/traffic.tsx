import type { JSX } from "preact";
import { useState } from "preact/hooks";
import type { RouteTraffic, ServiceTraffic, Traffic } from "../api/types";
import { clock, duration, number, percent } from "../lib/format";
import { useTitle } from "../lib/hooks";
import { layout, ROW, type Link } from "../lib/map";
import { href } from "../lib/route";
import { useStore } from "../lib/store";
import { samples, traffic, type Sample } from "../state/traffic";
import { Badge, Empty, Figure, Loading, Panel, Same } from "../ui/parts";
import { latency } from "./fleet";
import { stateTone } from "./related";
import { healthTone } from "./services";

const MOST = 24;
const WIDTH = 260;

export function TrafficPage(): JSX.Element {
  useTitle("Traffic");
  const live = useStore(traffic);
  const kept = useStore(samples);
  const [at, setAt] = useState<number | null>(null);
  if (live === null) return <Loading />;
  const past = at === null ? undefined : nearest(kept, at);
  const shown = past?.traffic ?? live;
  const { total } = shown;
  return (
    <>
      <div class="heading">
        <h1>Traffic</h1>
        <span class="soft">{past ? clock(shown.at) : `over the last ${duration(shown.every)}`}</span>
        <Slider kept={kept} at={at} move={setAt} />
      </div>
      <dl class="figures">
        <Figure label="Requests a second" value={number(total.requests_per_second)} />
        <Figure label="Server errors" value={percent(total.error_share)} note={`${number(total.server_errors_per_second)} a second`} />
        <Figure label="Refused and client errors" value={number(total.client_errors_per_second)} note="a second" />
        <Figure label="Latency p50 / p99" value={latency(total)} note="of forwarded requests" />
      </dl>
      <TrafficMap traffic={shown} />
      <Same command="headgate status" />
    </>
  );
}

export function nearest(kept: Sample[], at: number): Sample | undefined {
  return kept.reduce<Sample | undefined>(
    (best, one) => (best === undefined || Math.abs(one.at - at) < Math.abs(best.at - at) ? one : best),
    undefined,
  );
}

function Slider({ kept, at, move }: { kept: Sample[]; at: number | null; move: (at: number | null) => void }): JSX.Element | null {
  const [first, last] = [kept[0], kept.at(-1)];
  if (!first || !last || last.at - first.at < 20_000) return null;
  return (
    <label class="slider">
      <span class="visually-hidden">Time, within what this page has seen of the last hour</span>
      <span class="soft">{at === null ? "live" : `${duration((last.at - at) / 1000)} ago`}</span>
      <input
        type="range"
        min={first.at}
        max={last.at}
        step={10_000}
        value={at ?? last.at}
        onInput={(event) => {
          const value = Number(event.currentTarget.value);
          move(value >= last.at - 10_000 ? null : value);
        }}
      />
      {at !== null && (
        <button type="button" onClick={() => move(null)}>
          Live
        </button>
      )}
    </label>
  );
}

function TrafficMap({ traffic: shown }: { traffic: Traffic }): JSX.Element {
  const { routes, services, links, height, hidden } = layout(shown, MOST);
  if (routes.length === 0 && services.length === 0) {
    return <Empty>No request has arrived in the last seconds.</Empty>;
  }
  return (
    <Panel title="Routes to services" aside={<Legend />}>
      <div class="map" style={{ height: `${height}px` }}>
        <ul aria-label="Routes">
          {routes.map(({ item, y }) => (
            <li key={item.name} style={{ top: `${y}px`, height: `${ROW}px` }}>
              <RouteCard one={item} />
            </li>
          ))}
        </ul>
        <svg viewBox={`0 0 ${WIDTH} ${height}`} preserveAspectRatio="none" style={{ height: `${height}px` }} aria-hidden="true">
          {links.map((link) => (
            <path key={link.route} class={tone(link.error_share)} d={curve(link)} stroke-width={1.5 + 12 * link.weight} />
          ))}
        </svg>
        <ul aria-label="Services">
          {services.map(({ item, y }) => (
            <li key={item.service_name} style={{ top: `${y}px`, height: `${ROW}px` }}>
              <ServiceCard one={item} />
            </li>
          ))}
        </ul>
      </div>
      {hidden > 0 && (
        <p class="soft">
          and {hidden} routes with fewer requests: <a href={href("routes")}>all routes</a>
        </p>
      )}
    </Panel>
  );
}

function Legend(): JSX.Element {
  return <span class="soft">width: requests · red: more than 5 % server errors, yellow: more than 1 %</span>;
}

function tone(share: number): string {
  return share > 0.05 ? "critical" : share > 0.01 ? "warning" : "ok";
}

function curve({ from, to }: Link): string {
  return `M0 ${from} C ${WIDTH / 2} ${from}, ${WIDTH / 2} ${to}, ${WIDTH} ${to}`;
}

function RouteCard({ one }: { one: RouteTraffic }): JSX.Element {
  return (
    <a class={`card ${tone(one.error_share)}`} href={href("routes", one.name)}>
      <strong>{one.name}</strong>
      <span>
        {number(one.requests_per_second)}/s · {percent(one.error_share)} errors
      </span>
    </a>
  );
}

function ServiceCard({ one }: { one: ServiceTraffic }): JSX.Element {
  return (
    <a class={`card ${tone(one.error_share)}`} href={href("services", one.service_name)}>
      <strong>
        {one.service_name} <Badge tone={healthTone(one)}>{`${one.healthy}/${one.total}`}</Badge>
        {one.circuit !== "closed" && <Badge tone={stateTone(one.circuit)}>{one.circuit.replace("_", " ")}</Badge>}
      </strong>
      <span>
        {number(one.requests_per_second)}/s · {percent(one.error_share)} · {latency(one)}
      </span>
    </a>
  );
}
