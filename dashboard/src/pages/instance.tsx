import type { JSX } from "preact";
import type { Service, ServiceTraffic } from "../api/types";
import { number, percent, plural } from "../lib/format";
import { useLoad, useNow, useTitle } from "../lib/hooks";
import { href } from "../lib/route";
import { skew } from "../state/fleet";
import { Badge, Empty, Failure, Figure, Loading, Panel, Same, Time } from "../ui/parts";
import { FieldList, LastChanges, stateTone } from "./related";
import { VerdictsPanel } from "./verdicts";

export function InstancePage({ service, instance }: { service: string; instance: string }): JSX.Element {
  useTitle(instance);
  const now = useNow() + skew;
  const found = useLoad<Service>(`/api/v1/services/${encodeURIComponent(service)}`, 2000);
  const counted = useLoad<ServiceTraffic>(`/api/v1/traffic/services/${encodeURIComponent(service)}`, 2000);
  const live = counted.data?.instances.find((each) => each.instance_id === instance);
  if (found.error && !found.data) return <Failure error={found.error} />;
  if (!found.data) return <Loading />;
  const one = found.data.instances[instance];
  return (
    <>
      <div class="heading">
        <h1>{instance}</h1>
        {one && <Badge tone={stateTone(one.status)}>{one.status}</Badge>}
        {live !== undefined && live.ejected_at > 0 && <Badge tone="warning">ejected on {plural(live.ejected_at, "data plane")}</Badge>}
        <span class="soft">
          of service <a href={href("services", service)}>{service}</a>
        </span>
      </div>
      {one ? (
        <>
          <dl class="figures">
            <Figure
              label="Requests a second"
              value={number(live?.requests_per_second)}
              note={`${percent(live?.error_share)} answered with 5xx`}
              {...((live?.error_share ?? 0) > 0.01 ? { tone: "warning" as const } : {})}
            />
            <Figure label="Address" value={<code>{one.port === null ? one.host : `${one.host}:${one.port}`}</code>} note={one.source} />
            <Figure label="Last probe" value={<Time at={one.last_check} now={now} />} note={one.reason || "passed"} />
            <Figure label="Weight" value={one.weight} note={one.workers ? `${one.workers} registered processes` : "no registration"} />
          </dl>
          {Object.keys(one.metadata).length > 0 && (
            <Panel title="Metadata">
              <FieldList value={one.metadata} leaveOut={[]} />
            </Panel>
          )}
        </>
      ) : (
        <Empty>It is not an instance of the service now.</Empty>
      )}
      <VerdictsPanel service={service} instance={instance} now={now} />
      <LastChanges resources={[`service/${service}`, `instance/${service}/${instance}`]} now={now} />
      <Same command={`headgate instances ${service} ${instance}`} />
    </>
  );
}
