import type { JSX } from "preact";
import { useMemo, useState } from "preact/hooks";
import type { ChangeRecord, Dataplane, Head, NodeTraffic } from "../api/types";
import { bytes, duration, number, percent, plural } from "../lib/format";
import { useLoad, useNow, useTitle } from "../lib/hooks";
import { href } from "../lib/route";
import { useStore } from "../lib/store";
import { fleet, skew, standing, type Standing } from "../state/fleet";
import { series, traffic } from "../state/traffic";
import { Bar, Spark, Squares } from "../ui/charts";
import { Badge, Figure, Loading, Panel, Same, Time, type Tone } from "../ui/parts";
import { Table, type Column } from "../ui/table";
import { Verdict } from "./troubles";

export const TONES: Record<Standing, Tone> = { serving: "ok", waiting: "warning", rejecting: "critical", gone: "quiet" };
const ORDER: Record<Standing, number> = { rejecting: 0, waiting: 1, gone: 2, serving: 3 };

export function FleetPage(): JSX.Element {
  useTitle("Fleet");
  const now = useNow() + skew;
  const state = useStore(fleet);
  const revision = state?.head.revision;
  const history = useLoad<ChangeRecord[]>("/api/v1/history?limit=50", 0, [revision]);
  if (state === null) return <Loading />;
  const nodes = [...state.dataplanes.values()];
  return (
    <>
      <Verdict head={state.head} history={history.data ?? []} now={now} />
      <Figures head={state.head} nodes={nodes} />
      <LastChange head={state.head} nodes={nodes} history={history.data ?? []} now={now} />
      <Dataplanes head={state.head} nodes={nodes} now={now} />
      <Same command="headgate status" />
    </>
  );
}

function Figures({ head, nodes }: { head: Head; nodes: Dataplane[] }): JSX.Element {
  const now = useStore(traffic);
  const points = useStore(series);
  const total = now?.total;
  const slowest = nodes.reduce((most, one) => Math.max(most, one.connected ? (one.seconds_to_apply ?? 0) : 0), 0);
  const { counts } = head;
  return (
    <dl class="figures">
      <Figure
        label="Data planes"
        value={counts.connected}
        note={counts.gone ? `${counts.gone} left lately` : `${plural(counts.routes, "route")}, ${plural(counts.services, "service")}`}
        {...(counts.connected ? {} : { tone: "critical" as const })}
      />
      <Figure
        label="Requests a second"
        value={number(total?.requests_per_second)}
        note={<Spark values={points} label="Requests a second in the last minutes" />}
      />
      <Figure
        label="Server errors"
        value={percent(total?.error_share)}
        note={total ? `${number(total.server_errors_per_second)} a second` : ""}
        {...((total?.error_share ?? 0) > 0.01 ? { tone: "warning" as const } : {})}
      />
      <Figure
        label="Latency p50"
        value={total?.p50 == null ? "–" : duration(total.p50)}
        note={total?.p99 == null ? "no forwarded requests" : `p99 ${duration(total.p99)}`}
      />
      <Figure
        label="Serving the last change"
        value={`${counts.serving} of ${counts.connected}`}
        tone={counts.rejecting ? "critical" : counts.waiting ? "warning" : "ok"}
        note={slowest ? `slowest took ${duration(slowest)}` : "unchanged since they connected"}
      />
    </dl>
  );
}

function LastChange(props: { head: Head; nodes: Dataplane[]; history: ChangeRecord[]; now: number }): JSX.Element {
  const { head, nodes, now } = props;
  const { counts } = head;
  const last = props.history[0];
  const ordered = useMemo(() => [...nodes].sort((one, other) => (one.node < other.node ? -1 : 1)), [nodes]);
  const title = last ? `Last change: ${last.summary}` : `Revision ${head.revision}`;
  return (
    <Panel
      title={title}
      aside={
        last && (
          <span class="soft">
            <a href={href("changes", String(last.revision))}>revision {last.revision}</a> by {last.author},{" "}
            <Time at={last.time} now={now} />
          </span>
        )
      }
    >
      <Bar
        label="Data planes"
        parts={[
          { tone: "ok", count: counts.serving, label: "serve it" },
          { tone: "warning", count: counts.waiting, label: "wait for it" },
          { tone: "critical", count: counts.rejecting, label: "reject it" },
        ]}
      />
      {ordered.length > 1 && (
        <Squares
          label="Data planes"
          items={ordered}
          id={(one) => one.node}
          tone={(one) => TONES[standing(one, head.digest)]}
          title={(one) => `${one.node}: ${words(one, head)}`}
          link={(one) => href("dataplanes", one.node)}
        />
      )}
    </Panel>
  );
}

/** Where a data plane stands, in words. */
export function words(one: Dataplane, head: Head): string {
  const where = standing(one, head.digest);
  if (where === "serving") {
    return one.seconds_to_apply === null ? "serves it" : `serves it, took ${duration(one.seconds_to_apply)}`;
  }
  if (where === "gone") return "left";
  const has = one.applied_revision ? `serves ${one.applied_revision}` : "serves nothing";
  return where === "rejecting" ? `rejects ${one.last_rejection?.revision}, ${has}` : has;
}

export function latency(of: { p50?: number | null; p99?: number | null }): string {
  if (of.p99 == null || of.p50 == null) return "–";
  return `${duration(of.p50)} / ${duration(of.p99)}`;
}

function Dataplanes({ head, nodes, now }: { head: Head; nodes: Dataplane[]; now: number }): JSX.Element {
  const live = useStore(traffic);
  const known = useMemo(() => new Map(live?.dataplanes.map((one) => [one.node, one])), [live]);
  const [filter, setFilter] = useState("");
  const of = (one: Dataplane): Partial<NodeTraffic> => (one.connected ? (known.get(one.node) ?? {}) : {});
  const shown = nodes
    .filter((one) => one.node.includes(filter) || one.version.includes(filter))
    .sort((one, other) => {
      const order = ORDER[standing(one, head.digest)] - ORDER[standing(other, head.digest)];
      return order || (one.node < other.node ? -1 : 1);
    });
  const columns: Column<Dataplane>[] = [
    { name: "Data plane", cell: (one) => one.node, by: (one) => one.node },
    {
      name: "State",
      cell: (one) => {
        const where = standing(one, head.digest);
        return <Badge tone={TONES[where]}>{where}</Badge>;
      },
      by: (one) => ORDER[standing(one, head.digest)],
    },
    {
      name: "Revision",
      numeric: true,
      cell: (one) => one.applied_revision || "none",
      by: (one) => one.applied_revision,
    },
    {
      name: "Took",
      numeric: true,
      cell: (one) => (one.seconds_to_apply === null ? "–" : duration(one.seconds_to_apply)),
      by: (one) => one.seconds_to_apply ?? -1,
    },
    {
      name: "Last change",
      numeric: true,
      wide: true,
      cell: (one) => <Time at={one.applied_at} now={now} />,
      by: (one) => one.applied_at ?? "",
    },
    {
      name: "Requests/s",
      numeric: true,
      cell: (one) => number(of(one).requests_per_second),
      by: (one) => of(one).requests_per_second ?? -1,
    },
    {
      name: "Errors",
      numeric: true,
      cell: (one) => percent(of(one).error_share),
      by: (one) => of(one).error_share ?? -1,
    },
    {
      name: "p50 / p99",
      numeric: true,
      cell: (one) => latency(of(one)),
      by: (one) => of(one).p99 ?? -1,
    },
    { name: "Memory", numeric: true, wide: true, cell: (one) => bytes(of(one).memory_bytes), by: (one) => of(one).memory_bytes ?? -1 },
    { name: "Version", wide: true, cell: (one) => one.version, by: (one) => one.version },
    {
      name: "Connected",
      numeric: true,
      wide: true,
      cell: (one) => <Time at={one.connected ? one.connected_since : one.last_seen} now={now} />,
      by: (one) => one.connected_since ?? "",
    },
  ];
  return (
    <Panel
      title="Data planes"
      aside={
        <input
          type="search"
          placeholder="Filter"
          aria-label="Filter data planes"
          value={filter}
          onInput={(event) => setFilter(event.currentTarget.value)}
        />
      }
    >
      <Table
        label="Data planes"
        columns={columns}
        rows={shown}
        id={(one) => one.node}
        link={(one) => href("dataplanes", one.node)}
        tone={(one) => (one.connected ? "" : "faded")}
        empty={filter ? "No data plane fits the filter" : "No data plane has connected yet: start one with CONTROLPLANE=host:50051"}
      />
    </Panel>
  );
}
