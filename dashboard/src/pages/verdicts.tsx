// Who judges an instance, and who changed its mind, when and why.
import type { JSX } from "preact";
import type { Verdict, Verdicts } from "../api/types";
import { plural } from "../lib/format";
import { useLoad } from "../lib/hooks";
import { href } from "../lib/route";
import { Bar } from "../ui/charts";
import { Badge, Empty, Failure, Loading, Panel, Time } from "../ui/parts";
import { stateTone } from "./related";

const EVERY = 3000;
const MOST = 24;

export function VerdictsPanel({ service, instance, now }: { service: string; instance: string; now: number }): JSX.Element {
  const path = `/api/v1/services/${encodeURIComponent(service)}/instances/${encodeURIComponent(instance)}/verdicts`;
  const found = useLoad<Verdicts>(path, EVERY);
  if (found.error && !found.data) return <Failure error={found.error} />;
  if (!found.data) return <Loading />;
  const { healthy, unhealthy, starting, judges, verdicts } = found.data;
  const against = judges.filter((one) => one.status === "unhealthy");
  return (
    <>
      <Panel title="Judged by" aside={<span class="soft">{votes(healthy, unhealthy, starting)}</span>}>
        <Bar
          label="Data planes"
          parts={[
            { tone: "ok", count: healthy, label: "find it healthy" },
            { tone: "critical", count: unhealthy, label: "find it unhealthy" },
            { tone: "quiet", count: starting, label: "have no opinion yet" },
          ]}
        />
        {against.length > 0 && (
          <p>
            Unhealthy for:{" "}
            {against.slice(0, MOST).map((one, at) => (
              <span key={one.dataplane}>
                {at > 0 && ", "}
                <a href={href("dataplanes", one.dataplane)}>{one.dataplane}</a>
              </span>
            ))}
            {unhealthy > MOST && ` and ${unhealthy - MOST} more`}
          </p>
        )}
      </Panel>
      <Panel title="Health verdicts" aside={found.data.noted_since && <span class="soft">noted since <Time at={found.data.noted_since} now={now} /></span>}>
        {verdicts.length === 0 ? (
          <Empty>No data plane has changed its mind.</Empty>
        ) : (
          <ol class="lines">
            {verdicts.map((one, at) => (
              <li key={`${one.at}${one.dataplane}${at}`}>
                <span>
                  <Badge tone={stateTone(one.status)}>{one.status}</Badge>
                </span>
                <span>
                  <Judge one={one} /> <span class="soft">{votes(one.healthy, one.unhealthy, 0)}</span>
                </span>
                <Time at={one.at} now={now} />
              </li>
            ))}
          </ol>
        )}
      </Panel>
    </>
  );
}

function Judge({ one }: { one: Verdict }): JSX.Element {
  const why = one.reason && `: ${one.reason}`;
  if (one.dataplane === null) return <strong>The fleet{why}</strong>;
  return (
    <>
      <a href={href("dataplanes", one.dataplane)}>{one.dataplane}</a>
      {why}
    </>
  );
}

function votes(healthy: number, unhealthy: number, starting: number): string {
  const known = `healthy for ${healthy} of ${plural(healthy + unhealthy + starting, "data plane")}`;
  return starting ? `${known}, ${starting} without an opinion yet` : known;
}
