import type { JSX } from "preact";
import { useMemo, useState } from "preact/hooks";
import type { Route, TrafficHistory } from "../api/types";
import { number, percent } from "../lib/format";
import { total } from "../lib/reasons";
import { useLoad, useNow, useTitle } from "../lib/hooks";
import { useList } from "../lib/list";
import { href } from "../lib/route";
import { useStore } from "../lib/store";
import { fleet, skew } from "../state/fleet";
import { ofRoute, traffic } from "../state/traffic";
import { Badge, Failure, Figure, Loading, Panel, Same } from "../ui/parts";
import { ReasonsPanel } from "../ui/reasons";
import { Table, type Column } from "../ui/table";
import { FieldList, Hour, LastChanges } from "./related";

const HISTORY = 20_000;

export function RoutesPage(): JSX.Element {
  useTitle("Routes");
  const [filter, setFilter] = useState("");
  const state = useStore(fleet);
  const live = useStore(traffic);
  const rates = useMemo(() => new Map(live?.routes.map((one) => [one.name, one])), [live]);
  const { items, error, whole, more } = useList<Route>("/api/v1/routes", filter, state?.head.digest);
  const columns: Column<Route>[] = [
    { name: "Route", cell: (one) => one.name, by: (one) => one.name },
    { name: "Matches", cell: (one) => <code>{matches(one)}</code>, by: matches },
    { name: "Service", cell: (one) => destination(one), by: destination },
    { name: "Access", wide: true, cell: (one) => (one.public ? <Badge tone="quiet">public</Badge> : (one.scopes ?? []).join(", ") || "any user") },
    {
      name: "Requests/s",
      numeric: true,
      cell: (one) => number(rates.get(one.name)?.requests_per_second ?? 0),
      by: (one) => rates.get(one.name)?.requests_per_second ?? 0,
    },
    {
      name: "Errors",
      numeric: true,
      cell: (one) => percent(rates.get(one.name)?.error_share),
      by: (one) => rates.get(one.name)?.error_share ?? 0,
    },
  ];
  return (
    <>
      <h1>Routes</h1>
      {error && <Failure error={error} />}
      <Panel
        title={`${state?.head.counts.routes ?? ""} routes`}
        aside={
          <input
            type="search"
            placeholder="Name, or label=value"
            aria-label="Filter routes"
            value={filter}
            onInput={(event) => setFilter(event.currentTarget.value)}
          />
        }
      >
        {items === undefined ? (
          <Loading />
        ) : (
          <Table
            label="Routes"
            columns={columns}
            rows={items}
            id={(one) => one.name}
            link={(one) => href("routes", one.name)}
            more={more}
            {...(whole ? {} : { note: `Sorted among the ${items.length} that are loaded; scroll for more, or filter` })}
            empty={filter ? "No route has a name with this text, or this label" : "There are no routes yet: requests are answered with 404"}
          />
        )}
      </Panel>
      <Same command="headgate get routes" />
    </>
  );
}

function matches(one: Route): string {
  const where = one.path ?? one.prefix ?? String(one["path_regex"] ?? "");
  const methods = one.methods?.length ? `${one.methods.join(",")} ` : "";
  return `${methods}${one.hosts?.length ? one.hosts.join(",") : ""}${where}`;
}

function destinations(one: Route): string[] {
  if (one.service_name) return [one.service_name];
  return (one.services ?? []).flatMap((each) => (each.service_name ? [each.service_name] : []));
}

/** The services; of a route that answers by itself, what it does. */
function destination(one: Route): string {
  const own = ["redirect", "respond"].find((field) => one[field]);
  return destinations(one).join(", ") || (own ? `${own}s` : "–");
}

export function RoutePage({ name }: { name: string }): JSX.Element {
  useTitle(name);
  const now = useNow() + skew;
  const revision = useStore(fleet)?.head.revision;
  const found = useLoad<Route>(`/api/v1/routes/${encodeURIComponent(name)}`, 0, [revision]);
  const live = ofRoute(useStore(traffic), name);
  const history = useLoad<TrafficHistory>(`/api/v1/traffic/history?route=${encodeURIComponent(name)}`, HISTORY);
  if (found.error) return <Failure error={found.error} />;
  if (!found.data) return <Loading />;
  const one = found.data;
  const resources = [`route/${name}`, ...destinations(one).map((service) => `service/${service}`)];
  return (
    <>
      <div class="heading">
        <h1>{name}</h1>
        <code>{matches(one)}</code>
        <span class="soft">
          {destinations(one).length === 0 && destination(one)}
          {destinations(one).map((service, at) => (
            <span key={service}>
              {at ? ", " : "to "}
              <a href={href("services", service)}>{service}</a>
            </span>
          ))}
        </span>
      </div>
      <dl class="figures">
        <Figure label="Requests a second" value={number(live?.requests_per_second ?? 0)} />
        <Figure
          label="Server errors"
          value={percent(live?.error_share ?? 0)}
          note={`${number(live?.server_errors_per_second ?? 0)} a second`}
          {...((live?.error_share ?? 0) > 0.01 ? { tone: "warning" as const } : {})}
        />
        <Figure
          label="Refused"
          value={number(total(live?.refusals ?? {}))}
          note={`a second; ${number(live?.client_errors_per_second ?? 0)} client errors in all`}
        />
      </dl>
      <Hour history={history.data} label={`Traffic of route ${name}`} resources={resources} />
      <ReasonsPanel title="Recently refused" now={live?.refusals ?? {}} history={history.data} />
      <Panel title="Settings">
        <FieldList value={one} leaveOut={["name", "revision", "serving", "connected", "status"]} />
        {(one.rate_limits ?? []).length > 0 && (
          <p>
            Limits:{" "}
            {(one.rate_limits ?? []).map((limit) => (
              <a key={limit} href={href("limits", limit)}>
                {limit}
              </a>
            ))}
          </p>
        )}
      </Panel>
      <LastChanges resources={resources} now={now} />
      <Same command={`headgate get routes ${name}`} />
    </>
  );
}
