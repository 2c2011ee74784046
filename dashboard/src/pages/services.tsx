import type { JSX } from "preact";
import { useMemo, useState } from "preact/hooks";
import type { Service } from "../api/types";
import { number, percent } from "../lib/format";
import { useTitle } from "../lib/hooks";
import { useList } from "../lib/list";
import { href } from "../lib/route";
import { useStore } from "../lib/store";
import { fleet } from "../state/fleet";
import { traffic } from "../state/traffic";
import { Badge, Failure, Loading, Panel, Same } from "../ui/parts";
import { Table, type Column } from "../ui/table";
import { latency } from "./fleet";
import { stateTone } from "./related";

export function ServicesPage(): JSX.Element {
  useTitle("Services");
  const [filter, setFilter] = useState("");
  const state = useStore(fleet);
  const live = useStore(traffic);
  const rates = useMemo(() => new Map(live?.services.map((one) => [one.service_name, one])), [live]);
  const { items, error, whole, more } = useList<Service>("/api/v1/services", filter, state?.head.digest);
  const columns: Column<Service>[] = [
    { name: "Service", cell: (one) => one.service_name, by: (one) => one.service_name },
    {
      name: "Healthy",
      cell: (one) => <Badge tone={healthTone(one)}>{`${one.healthy} of ${one.total}`}</Badge>,
      by: (one) => (one.total ? one.healthy / one.total : -1),
    },
    {
      name: "Circuit",
      cell: (one) => {
        const circuit = rates.get(one.service_name)?.circuit ?? "closed";
        return <Badge tone={circuit === "closed" ? "quiet" : stateTone(circuit)}>{circuit.replace("_", " ")}</Badge>;
      },
    },
    {
      name: "Requests/s",
      numeric: true,
      cell: (one) => number(rates.get(one.service_name)?.requests_per_second ?? 0),
      by: (one) => rates.get(one.service_name)?.requests_per_second ?? 0,
    },
    {
      name: "Errors",
      numeric: true,
      cell: (one) => percent(rates.get(one.service_name)?.error_share),
      by: (one) => rates.get(one.service_name)?.error_share ?? 0,
    },
    {
      name: "p50 / p99",
      numeric: true,
      wide: true,
      cell: (one) => latency(rates.get(one.service_name) ?? {}),
      by: (one) => rates.get(one.service_name)?.p99 ?? 0,
    },
  ];
  return (
    <>
      <h1>Services</h1>
      {error && <Failure error={error} />}
      <Panel
        title={`${state?.head.counts.services ?? ""} services`}
        aside={
          <input
            type="search"
            placeholder="Name, or label=value"
            aria-label="Filter services"
            value={filter}
            onInput={(event) => setFilter(event.currentTarget.value)}
          />
        }
      >
        {items === undefined ? (
          <Loading />
        ) : (
          <Table
            label="Services"
            columns={columns}
            rows={items}
            id={(one) => one.service_name}
            link={(one) => href("services", one.service_name)}
            more={more}
            {...(whole ? {} : { note: `Sorted among the ${items.length} that are loaded; scroll for more, or filter` })}
            empty={filter ? "No service has a name with this text, or this label" : "There are no services yet: register one, or apply a document"}
          />
        )}
      </Panel>
      <Same command="headgate get services" />
    </>
  );
}

export function healthTone(one: { healthy: number; total: number }): "ok" | "warning" | "critical" | "quiet" {
  if (one.total === 0) return "quiet";
  return one.healthy === one.total ? "ok" : one.healthy === 0 ? "critical" : "warning";
}
