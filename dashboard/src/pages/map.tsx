// The map of the traffic: clients, routes, services and instances, with what refuses or ejects on the way.
import type { JSX } from "preact";
import type { InstanceTraffic, LimitTraffic, RouteTraffic, ServiceTraffic, Traffic } from "../api/types";
import { number, percent, plural } from "../lib/format";
import { layout, ROW, type Link } from "../lib/map";
import { ranked, reasonWords, total } from "../lib/reasons";
import { href } from "../lib/route";
import { Badge, Empty, Panel, type Tone } from "../ui/parts";
import { Table, type Column } from "../ui/table";
import { latency } from "./fleet";
import { stateTone } from "./related";
import { healthTone } from "./services";

const MOST = 24;
const WIDTH = 260;
const INSTANCES = 4;

export function TrafficMap({ traffic }: { traffic: Traffic }): JSX.Element {
  const { routes, services, clients, links, height, hidden } = layout(traffic, MOST);
  if (routes.length === 0 && services.length === 0) {
    return <Empty>No request has arrived in the last seconds.</Empty>;
  }
  const place = (y: number): { top: string; height: string } => ({ top: `${y}px`, height: `${ROW}px` });
  return (
    <Panel title="Clients to routes to services to instances" aside={<Legend />}>
      <div class="map" style={{ height: `${height}px` }}>
        <div class="clients">
          <Clients traffic={traffic} />
        </div>
        <Curves links={clients} height={height} class="clients" />
        <ul aria-label="Routes">
          {routes.map(({ item, y }) => (
            <li key={item.name} style={place(y)}>
              <RouteCard one={item} />
            </li>
          ))}
        </ul>
        <Curves links={links} height={height} class="" />
        <ul aria-label="Services">
          {services.map(({ item, y }) => (
            <li key={item.service_name} style={place(y)}>
              <ServiceCard one={item} />
            </li>
          ))}
        </ul>
        <ul aria-label="Instances" class="instances">
          {services.map(({ item, y }) => (
            <li key={item.service_name} style={place(y)}>
              <Instances of={item} />
            </li>
          ))}
        </ul>
      </div>
      {hidden > 0 && (
        <p class="soft">
          and {plural(hidden, "route")} with fewer requests: <a href={href("routes")}>all routes</a>
        </p>
      )}
    </Panel>
  );
}

function Curves(props: { links: Link[]; height: number; class: string }): JSX.Element {
  return (
    <svg class={props.class} viewBox={`0 0 ${WIDTH} ${props.height}`} preserveAspectRatio="none" style={{ height: `${props.height}px` }} aria-hidden="true">
      {props.links.map((link) => (
        <path key={link.id} class={tone(link.error_share)} d={curve(link)} stroke-width={1.5 + 12 * link.weight} />
      ))}
    </svg>
  );
}

function Legend(): JSX.Element {
  return <span class="soft">width: requests · red: more than 5 % server errors, yellow: more than 1 %</span>;
}

export function tone(share: number): Tone {
  return share > 0.05 ? "critical" : share > 0.01 ? "warning" : "ok";
}

function curve({ from, to }: Link): string {
  return `M0 ${from} C ${WIDTH / 2} ${from}, ${WIDTH / 2} ${to}, ${WIDTH} ${to}`;
}

function Clients({ traffic }: { traffic: Traffic }): JSX.Element {
  const connections = traffic.dataplanes.reduce((sum, one) => sum + (one.connections ?? 0), 0);
  return (
    <div class="card" style={{ height: `${ROW}px` }}>
      <strong>Clients</strong>
      <span>{connections ? plural(connections, "connection") : `${number(traffic.total.requests_per_second)}/s`}</span>
    </div>
  );
}

function RouteCard({ one }: { one: RouteTraffic }): JSX.Element {
  const refused = total(one.refusals);
  const reasons = ranked(one.refusals).map(([name, rate]) => `${number(rate)}/s ${reasonWords(name)}`);
  const only = reasons.length === 1 && "limited" in one.refusals ? "limited" : "refused";
  const limits = one.rate_limits.length ? `limits: ${one.rate_limits.join(", ")}` : "no limits of its own";
  const title = [one.name, limits, reasons.length ? `refused: ${reasons.join(", ")}` : ""].filter(Boolean).join("; ");
  return (
    <a class={`card ${tone(one.error_share)}`} href={href("routes", one.name)} title={title}>
      <strong>
        <span>{one.name}</span>
        {refused > 0 && (
          <Badge tone={"limited" in one.refusals ? "warning" : "quiet"}>
            {only} {number(refused)}/s
          </Badge>
        )}
      </strong>
      <span>
        {number(one.requests_per_second)}/s · {percent(one.error_share)}
        <span class="wide-only"> errors{one.rate_limits.length > 0 && ` · ${one.rate_limits.join(", ")}`}</span>
      </span>
    </a>
  );
}

function ServiceCard({ one }: { one: ServiceTraffic }): JSX.Element {
  return (
    <a class={`card ${tone(one.error_share)}`} href={href("services", one.service_name)}>
      <strong>
        <span>{one.service_name}</span>
        <Badge tone={healthTone(one)}>{`${one.healthy}/${one.total}`}</Badge>
        {one.circuit !== "closed" && <Badge tone={stateTone(one.circuit)}>{one.circuit.replace("_", " ")}</Badge>}
        {one.ejected > 0 && <Badge tone="warning">{one.ejected} ejected</Badge>}
      </strong>
      <span>
        {number(one.requests_per_second)}/s · {percent(one.error_share)} · {latency(one)}
      </span>
    </a>
  );
}

/** The state of an instance: an ejected one is healthy by its probes, and fails requests. */
export function instanceTone(one: InstanceTraffic): Tone {
  return one.ejected_at > 0 && one.status === "healthy" ? "warning" : stateTone(one.status);
}

function Instances({ of }: { of: ServiceTraffic }): JSX.Element {
  const shown = of.instances.slice(0, of.instances.length > INSTANCES || of.total > INSTANCES ? INSTANCES - 1 : INSTANCES);
  const more = of.total - shown.length;
  return (
    <div class="set">
      {shown.map((one) => (
        <a
          key={one.instance_id}
          class={`instance ${instanceTone(one)}`}
          href={href("services", of.service_name, "instances", one.instance_id)}
          title={`${one.instance_id}: ${instanceWords(one)}`}
        >
          <span>{one.instance_id}</span>
          <small>{mark(one)}</small>
        </a>
      ))}
      {more > 0 && (
        <a class="instance more" href={href("services", of.service_name)} title={`${of.service_name}: all ${of.total} instances`}>
          {shown.length ? `+${more}` : plural(more, "instance")}
        </a>
      )}
    </div>
  );
}

function mark(one: InstanceTraffic): string {
  if (one.ejected_at > 0) return "ejected";
  return one.status === "healthy" ? `${number(one.requests_per_second)}/s` : one.status;
}

export function instanceWords(one: InstanceTraffic): string {
  const ejected = one.ejected_at ? `, ejected on ${plural(one.ejected_at, "data plane")}` : "";
  return `${one.status}${ejected}, ${number(one.requests_per_second)} requests a second, ${percent(one.error_share)} errors`;
}

interface LimitsProps {
  limits: LimitTraffic[];
  routes: RouteTraffic[];
}

export function LimitsPanel({ limits, routes }: LimitsProps): JSX.Element | null {
  if (limits.length === 0) return null;
  const columns: Column<LimitTraffic>[] = [
    { name: "Limit", cell: (one) => one.name, by: (one) => one.name },
    { name: "Refused/s", numeric: true, cell: (one) => number(one.refused_per_second), by: (one) => one.refused_per_second },
    { name: "Would refuse/s", numeric: true, cell: (one) => number(one.shadowed_per_second), by: (one) => one.shadowed_per_second },
    {
      name: "Busiest routes with it",
      cell: (one) =>
        routes
          .filter((route) => route.rate_limits.includes(one.name))
          .slice(0, 4)
          .map((route) => route.name)
          .join(", ") || "–",
    },
  ];
  return (
    <Panel title="Limits that refuse">
      <Table label="Limits that refuse" columns={columns} rows={limits} id={(one) => one.name} link={(one) => href("limits", one.name)} empty="" />
    </Panel>
  );
}
