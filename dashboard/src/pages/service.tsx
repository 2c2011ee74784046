import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { ApiError, send } from "../api/client";
import type { Circuit, Instance, InstanceTraffic, Route, Service, ServiceTraffic, TrafficHistory } from "../api/types";
import { duration, number, percent } from "../lib/format";
import { useLoad, useNow, useTitle } from "../lib/hooks";
import { href } from "../lib/route";
import { useStore } from "../lib/store";
import { useEvents } from "../lib/timeline";
import { skew } from "../state/fleet";
import { mayWrite } from "../state/session";
import { ofService, traffic } from "../state/traffic";
import { Badge, Failure, Figure, Loading, Panel, Same, Time } from "../ui/parts";
import { ReasonsPanel } from "../ui/reasons";
import { Table, type Column } from "../ui/table";
import { FieldList, Hour, LastChanges, stateTone, Timeline } from "./related";
import { healthTone } from "./services";

const EVERY = 2000;
const HISTORY = 20_000;
type Row = Instance & { id: string };

export function ServicePage({ name }: { name: string }): JSX.Element {
  useTitle(name);
  const now = useNow() + skew;
  const service = useLoad<Service>(`/api/v1/services/${encodeURIComponent(name)}`, EVERY);
  const circuit = useLoad<Circuit>(`/api/v1/circuits/${encodeURIComponent(name)}`, EVERY);
  const all = useLoad<ServiceTraffic>(`/api/v1/traffic/services/${encodeURIComponent(name)}`, EVERY);
  const history = useLoad<TrafficHistory>(`/api/v1/traffic/history?service=${encodeURIComponent(name)}`, HISTORY);
  const live = ofService(useStore(traffic), name) ?? all.data;
  const events = useEvents(["instance", "circuit"], (one) => one.service_name === name, name);
  if (service.error && !service.data) return <Failure error={service.error} />;
  if (!service.data) return <Loading />;
  const one = service.data;
  return (
    <>
      <div class="heading">
        <h1>{name}</h1>
        <Badge tone={healthTone(one)}>{`${one.healthy} of ${one.total} healthy`}</Badge>
        {one.description && <span class="soft">{one.description}</span>}
      </div>
      {service.error && <Failure error={service.error} />}
      <dl class="figures">
        <Figure label="Requests a second" value={number(live?.requests_per_second ?? 0)} note="forwarded" />
        <Figure
          label="Errors"
          value={percent(live?.error_share ?? 0)}
          note={`${number(live?.errors_per_second ?? 0)} a second`}
          {...((live?.error_share ?? 0) > 0.01 ? { tone: "warning" as const } : {})}
        />
        <Figure
          label="Latency p50"
          value={live?.p50 == null ? "–" : duration(live.p50)}
          note={live?.p99 == null ? "no requests" : `p99 ${duration(live.p99)}`}
        />
      </dl>
      <Breaker circuit={circuit.data} now={now} reload={circuit.reload} />
      <Instances service={one} traffic={all.data?.instances ?? []} now={now} reload={service.reload} />
      <Hour history={history.data} label={`Traffic of service ${name}`} resources={[`service/${name}`]} />
      <ReasonsPanel title="Recently failed" now={live?.failures ?? {}} history={history.data} />
      <Timeline title="Health and circuit" events={events} now={now} />
      <Routes name={name} />
      <LastChanges resources={[`service/${name}`]} now={now} />
      <Panel title="Settings">
        <FieldList value={one} leaveOut={["service_name", "instances", "healthy", "total", "revision", "serving", "connected", "status", "discovered", "description"]} />
      </Panel>
      <Same command={`headgate get services ${name}`} />
    </>
  );
}

function Breaker({ circuit, now, reload }: { circuit: Circuit | undefined; now: number; reload: () => void }): JSX.Element | null {
  const [error, setError] = useState<ApiError>();
  if (!circuit) return null;
  const nodes = Object.entries(circuit.dataplanes);
  const open = nodes.filter(([, one]) => one.state !== "closed");
  const reset = (): void => {
    send("POST", `/api/v1/circuits/${encodeURIComponent(circuit.service_name)}/reset`).then(reload, (problem: unknown) => {
      if (problem instanceof ApiError) setError(problem);
    });
  };
  return (
    <Panel
      title="Circuit"
      aside={
        <span>
          <Badge tone={stateTone(circuit.state)}>{circuit.state.replace("_", " ")}</Badge>{" "}
          <span class="soft">
            {open.length ? `on ${open.length} of ${nodes.length} data planes, ` : ""}
            {circuit.last_state_change ? <Time at={circuit.last_state_change} now={now} /> : "never opened"}
          </span>
        </span>
      }
    >
      <p>
        {circuit.reason || "No failures lately."}{" "}
        <span class="soft">
          {number(circuit.stats.failed_requests)} of {number(circuit.stats.total_requests)} requests failed,{" "}
          {number(circuit.stats.rejected_requests)} were refused by the open circuit.
        </span>
      </p>
      {error && <Failure error={error} />}
      {open.length > 0 && (
        <>
          <ul class="chips">
            {open.slice(0, 24).map(([node, one]) => (
              <li key={node}>
                <a href={href("dataplanes", node)}>{node}</a> <Badge tone={stateTone(one.state)}>{one.state.replace("_", " ")}</Badge>
              </li>
            ))}
            {open.length > 24 && <li class="soft">and {open.length - 24} more</li>}
          </ul>
          {mayWrite() && (
            <p class="actions">
              <button type="button" onClick={reset}>
                Close it on every data plane
              </button>
            </p>
          )}
        </>
      )}
    </Panel>
  );
}

interface InstancesProps {
  service: Service;
  traffic: InstanceTraffic[];
  now: number;
  reload: () => void;
}

function Instances({ service, traffic: counted, now, reload }: InstancesProps): JSX.Element {
  const rates = new Map(counted.map((one) => [one.instance_id, one]));
  const [error, setError] = useState<ApiError>();
  const rows: Row[] = Object.entries(service.instances).map(([id, one]) => ({ id, ...one }));
  const order: Record<string, number> = { unhealthy: 0, draining: 1, starting: 2, healthy: 3 };
  rows.sort((one, other) => (order[one.status] ?? 0) - (order[other.status] ?? 0) || (one.id < other.id ? -1 : 1));
  const drain = (row: Row): void => {
    const path = `/api/v1/services/${encodeURIComponent(service.service_name)}/instances/${encodeURIComponent(row.id)}/drain`;
    send(row.status === "draining" ? "DELETE" : "POST", path).then(reload, (problem: unknown) => {
      if (problem instanceof ApiError) setError(problem);
    });
  };
  const columns: Column<Row>[] = [
    { name: "Instance", cell: (row) => row.id, by: (row) => row.id },
    {
      name: "Status",
      cell: (row) => (
        <>
          <Badge tone={stateTone(row.status)}>{row.status}</Badge>
          {(rates.get(row.id)?.ejected_at ?? 0) > 0 && <Badge tone="warning">ejected</Badge>}
        </>
      ),
      by: (row) => order[row.status] ?? 0,
    },
    {
      name: "Requests/s",
      numeric: true,
      cell: (row) => number(rates.get(row.id)?.requests_per_second),
      by: (row) => rates.get(row.id)?.requests_per_second ?? -1,
    },
    {
      name: "Errors",
      numeric: true,
      cell: (row) => percent(rates.get(row.id)?.error_share),
      by: (row) => rates.get(row.id)?.error_share ?? -1,
    },
    { name: "Address", wide: true, cell: (row) => <code>{row.port === null ? row.host : `${row.host}:${row.port}`}</code> },
    { name: "Reason", cell: (row) => row.reason || "–" },
    { name: "Last probe", numeric: true, wide: true, cell: (row) => <Time at={row.last_check} now={now} /> },
    { name: "Source", wide: true, cell: (row) => row.source },
  ];
  // Instances that are listed in the service, or discovered, have no registration that could be drained.
  if (mayWrite() && rows.some((row) => row.source === "registered")) {
    columns.push({
      name: "Act",
      cell: (row) =>
        row.source === "registered" && (
          <button type="button" onClick={() => drain(row)}>
            {row.status === "draining" ? "Undrain" : "Drain"}
          </button>
        ),
    });
  }
  return (
    <Panel title="Instances">
      {error && <Failure error={error} />}
      <Table
        label="Instances"
        columns={columns}
        rows={rows}
        id={(row) => row.id}
        link={(row) => href("services", service.service_name, "instances", row.id)}
        empty="No instance is registered: requests are refused with 503"
      />
    </Panel>
  );
}

const MOST = 60;

function Routes({ name }: { name: string }): JSX.Element | null {
  const found = useLoad<Route[]>(`/api/v1/routes?limit=${MOST + 1}&uses=${encodeURIComponent(`service/${name}`)}`);
  if (!found.data) return null;
  return (
    <Panel title="Routes to it">
      {found.data.length === 0 ? (
        <p class="soft">No route leads here.</p>
      ) : (
        <ul class="chips">
          {found.data.slice(0, MOST).map((one) => (
            <li key={one.name}>
              <a href={href("routes", one.name)}>{one.name}</a> <code>{one.path ?? one.prefix}</code>
            </li>
          ))}
          {found.data.length > MOST && <li class="soft">and more</li>}
        </ul>
      )}
    </Panel>
  );
}
