import type { JSX } from "preact";
import type { Dataplane } from "../api/types";
import { bytes, duration, number, percent } from "../lib/format";
import { useNow, useTitle } from "../lib/hooks";
import { href } from "../lib/route";
import { useStore } from "../lib/store";
import { fleet, skew, standing } from "../state/fleet";
import { traffic } from "../state/traffic";
import { Badge, Empty, Figure, Loading, Panel, ResourceLink, Same, Time } from "../ui/parts";
import { latency, TONES, words } from "./fleet";

export function DataplanePage({ node }: { node: string }): JSX.Element {
  useTitle(node);
  const now = useNow() + skew;
  const state = useStore(fleet);
  const live = useStore(traffic)?.dataplanes.find((one) => one.node === node);
  if (state === null) return <Loading />;
  const one = state.dataplanes.get(node);
  if (!one) {
    return <Empty>Data plane {node} is not known: it has never connected, or left more than ten minutes ago.</Empty>;
  }
  const where = standing(one, state.head.digest);
  return (
    <>
      <div class="heading">
        <h1>{node}</h1>
        <Badge tone={TONES[where]}>{where}</Badge>
        <span class="soft">{words(one, state.head)}</span>
      </div>
      <dl class="figures">
        <Figure
          label="Revision"
          value={one.applied_revision || "none"}
          note={`published: ${state.head.revision}`}
          tone={TONES[where]}
        />
        <Figure
          label="Last change reached it"
          value={<Time at={one.applied_at ?? one.connected_since} now={now} />}
          note={one.seconds_to_apply === null ? "served it when it connected" : `took ${duration(one.seconds_to_apply)}`}
        />
        <Figure
          label="Requests a second"
          value={number(live?.requests_per_second)}
          note={`${number(one.total_requests)} since it started`}
        />
        <Figure label="Server errors" value={percent(live?.error_share)} />
        <Figure label="Latency p50 / p99" value={latency(live ?? {})} note={`${number(live?.in_flight)} in flight`} />
        <Figure label="Memory" value={bytes(live?.memory_bytes)} note={`${number(live?.connections)} client connections`} />
        <Figure
          label={one.connected ? "Connected" : "Left"}
          value={<Time at={one.connected ? one.connected_since : one.last_seen} now={now} />}
          note={`version ${one.version}`}
        />
      </dl>
      <RejectionPanel one={one} now={now} />
      <Same command={`headgate get dataplanes -o json`} />
    </>
  );
}

function RejectionPanel({ one, now }: { one: Dataplane; now: number }): JSX.Element | null {
  const refused = one.last_rejection;
  if (refused === null) return null;
  const title = `${refused.withheld ? "Withheld" : "Last rejection"}: revision ${refused.revision}`;
  const over = refused.revision <= one.applied_revision;
  return (
    <Panel
      title={title}
      aside={
        <span class="soft">
          <Time at={refused.at} now={now} />
          {over ? ", over: it serves a later revision" : ""}
        </span>
      }
    >
      <ul class="problems">
        {refused.problems.map((problem) => (
          <li key={problem.resource + problem.field + problem.detail}>
            {problem.resource && <ResourceLink resource={problem.resource} />} <code>{problem.field}</code> {problem.detail}
          </li>
        ))}
      </ul>
      <p>
        <a href={href("changes", String(refused.revision))}>The change of revision {refused.revision}</a>
      </p>
    </Panel>
  );
}
