import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { ApiError, send } from "../api/client";
import type { Bucket, RateLimit } from "../api/types";
import { number } from "../lib/format";
import { useLoad, useTitle } from "../lib/hooks";
import { href } from "../lib/route";
import { mayWrite } from "../state/session";
import { Badge, Empty, Failure, Loading, Panel, Same } from "../ui/parts";
import { Table, type Column } from "../ui/table";

export function LimitsPage({ name }: { name: string | undefined }): JSX.Element {
  useTitle("Limits");
  const query = name === undefined ? "most=50" : `limit=${encodeURIComponent(name)}&most=200`;
  const found = useLoad<RateLimit[]>(`/api/v1/rate-limits?${query}`, 2000);
  return (
    <>
      <div class="heading">
        <h1>{name === undefined ? "Limits" : `Limit ${name}`}</h1>
        {name !== undefined && <a href={href("limits")}>all limits</a>}
      </div>
      {found.error && <Failure error={found.error} />}
      {found.data === undefined && !found.error && <Loading />}
      {found.data?.length === 0 && <Empty>There are no limits beside those in the settings of data planes.</Empty>}
      {found.data?.map((one) => <Limit key={one.name} limit={one} reload={found.reload} />)}
      <Same command="headgate limits" />
    </>
  );
}

function Limit({ limit, reload }: { limit: RateLimit; reload: () => void }): JSX.Element {
  const [error, setError] = useState<ApiError>();
  const reset = (key: string): void => {
    send("DELETE", `/api/v1/rate-limits/${encodeURIComponent(key)}`).then(reload, (problem: unknown) => {
      if (problem instanceof ApiError) setError(problem);
    });
  };
  const columns: Column<Bucket>[] = [
    { name: "Key", cell: (one) => <code>{one.key}</code>, by: (one) => one.key },
    { name: "Refused", numeric: true, cell: (one) => number(one.refused), by: (one) => one.refused },
    { name: "Tokens left", numeric: true, cell: (one) => number(one.remaining), by: (one) => one.remaining },
  ];
  if (mayWrite()) {
    columns.push({
      name: "Act",
      cell: (one) => (
        <button type="button" onClick={() => reset(one.key)} aria-label={`Refill ${one.key}`}>
          Refill
        </button>
      ),
    });
  }
  const bound = limit.bound;
  return (
    <Panel
      title={limit.name}
      aside={
        <span>
          {bound && <Badge tone={bound.holds ? "ok" : "warning"}>{bound.holds ? "holds" : "does not hold"}</Badge>}{" "}
          <span class="soft">{number(limit.refused)} refused</span>
        </span>
      }
    >
      <p>
        {words(limit)} {bound && <span class="soft">{bound.reason}.</span>}
      </p>
      {error && <Failure error={error} />}
      <Table
        label={`Keys of ${limit.name}`}
        columns={columns}
        rows={limit.buckets}
        id={(one) => one.key}
        empty="No key is in use."
      />
      {limit.more > 0 && <p class="soft">and {number(limit.more)} more keys</p>}
    </Panel>
  );
}

function words(limit: RateLimit): string {
  const parts = [
    limit.per_second === null ? "" : `${number(limit.per_second)} a second, bursts of ${number(limit.burst)}`,
    limit.max_concurrent === null ? "" : `${limit.max_concurrent} at once`,
    limit.key === null ? "from the settings of the data planes" : `for each ${limit.key}`,
    limit.mode ? `counted ${limit.mode === "local" ? "by each data plane" : `in mode ${limit.mode}`}` : "",
  ];
  return `${parts.filter(Boolean).join(", ")}.`;
}
