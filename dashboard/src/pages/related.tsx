// What pages of resources have in common: the last changes to them, their events, their fields.
import type { JSX } from "preact";
import type { ChangeRecord, LiveEvent, TrafficHistory } from "../api/types";
import { useLoad } from "../lib/hooks";
import { href } from "../lib/route";
import { useStore } from "../lib/store";
import { fleet } from "../state/fleet";
import { HistoryChart, span } from "../ui/history";
import { Badge, Empty, Loading, Panel, Time, type Tone } from "../ui/parts";

const CHANGES = 20;
const NONE: ChangeRecord[] = [];

/** The last changes that touched one of these resources ("route/orders"). */
function useChanges(resources: string[]): ChangeRecord[] | undefined {
  const revision = useStore(fleet)?.head.revision;
  const query = [`limit=${CHANGES}`, ...resources.map((one) => `resource=${encodeURIComponent(one)}`)].join("&");
  return useLoad<ChangeRecord[]>(`/api/v1/history?${query}`, 0, [revision]).data;
}

/** The recorded traffic of a route or a service, with the changes that touched it. */
export function Hour(props: { history: TrafficHistory | undefined; resources: string[]; label: string }): JSX.Element | null {
  const changes = useChanges(props.resources);
  const points = props.history?.points ?? [];
  const recorded = span(points);
  if (!props.history || !recorded) return null;
  return (
    <Panel title={`The last ${recorded}`}>
      <HistoryChart points={points} step={props.history.step} changes={changes ?? NONE} label={props.label} />
    </Panel>
  );
}

export function LastChanges({ resources, now }: { resources: string[]; now: number }): JSX.Element {
  const touching = useChanges(resources);
  return (
    <Panel title="Last changes">
      {touching === undefined ? (
        <Loading />
      ) : touching.length === 0 ? (
        <Empty>No change on record touched it.</Empty>
      ) : (
        <ul class="lines">
          {touching.slice(0, 8).map((one) => (
            <li key={one.revision}>
              <a href={href("changes", String(one.revision))}>{one.revision}</a>
              <span>{one.summary}</span>
              <span class="soft">
                {one.author}, <Time at={one.time} now={now} />
              </span>
            </li>
          ))}
        </ul>
      )}
    </Panel>
  );
}

const TONES: Record<string, Tone> = {
  healthy: "ok",
  closed: "ok",
  half_open: "warning",
  starting: "quiet",
  draining: "warning",
  removed: "quiet",
  unhealthy: "critical",
  open: "critical",
};

export function stateTone(state: string): Tone {
  return TONES[state] ?? "info";
}

export function Timeline({ events, now, title }: { events: LiveEvent[]; now: number; title: string }): JSX.Element {
  return (
    <Panel title={title} aside={<span class="soft">since this control plane started</span>}>
      {events.length === 0 ? (
        <Empty>Nothing has happened.</Empty>
      ) : (
        <ol class="lines">
          {events.slice(0, 30).map((one, at) => (
            <li key={`${one.at}${at}`}>
              <span>
                <Badge tone={stateTone(one.state ?? "")}>{(one.state ?? one.type).replace("_", " ")}</Badge>
              </span>
              <span>{one.text}</span>
              <Time at={one.at} now={now} />
            </li>
          ))}
        </ol>
      )}
    </Panel>
  );
}

/** Fields of a resource that say something, as a list of terms. */
export function FieldList({ value, leaveOut }: { value: Record<string, unknown>; leaveOut: string[] }): JSX.Element {
  const shown = Object.entries(value).filter(([name, field]) => !leaveOut.includes(name) && says(field));
  return (
    <dl class="fields">
      {shown.map(([name, field]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{typeof field === "object" ? <code>{text(field)}</code> : String(field)}</dd>
        </div>
      ))}
    </dl>
  );
}

function says(field: unknown): boolean {
  if (field === null || field === undefined || field === "" || field === false) return false;
  if (Array.isArray(field)) return field.length > 0;
  return typeof field !== "object" || Object.values(field).some(says);
}

function text(field: unknown): string {
  if (Array.isArray(field)) return field.map(text).join(", ");
  if (typeof field !== "object" || field === null) return String(field);
  return Object.entries(field)
    .filter(([, value]) => says(value))
    .map(([name, value]) => `${name}: ${text(value)}`)
    .join(", ");
}
