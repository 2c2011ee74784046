// The answer to the first question of somebody who was woken: is anything wrong, what, since when, which change.
import type { JSX } from "preact";
import type { ChangeRecord, Head, Trouble } from "../api/types";
import { ago, clock, duration, plural } from "../lib/format";
import { href } from "../lib/route";
import { suspect } from "../lib/suspect";
import { Icon } from "../ui/icons";
import { ResourceLink, SeverityIcon } from "../ui/parts";

interface Props {
  head: Head;
  history: ChangeRecord[];
  now: number;
}

export function Verdict({ head, history, now }: Props): JSX.Element {
  const wrong = head.troubles.filter((one) => one.severity !== "info");
  const worst = wrong[0]?.severity ?? "ok";
  const { counts } = head;
  return (
    <section class={`verdict ${worst}`} aria-label="State of the fleet">
      <h1>
        <Icon name={worst === "ok" ? "ok" : worst} />
        {wrong.length === 0
          ? `All is well: ${counts.serving === 1 ? "the data plane serves" : `all ${counts.serving} data planes serve`} revision ${head.revision}`
          : `${plural(wrong.length + head.more, "problem")}; ${counts.serving} of ${plural(counts.connected, "data plane")} serve revision ${head.revision}`}
      </h1>
      {head.troubles.length > 0 && (
        <ol class="troubles">
          {head.troubles.slice(0, 12).map((one) => (
            <TroubleItem key={one.title} trouble={one} history={history} now={now} />
          ))}
        </ol>
      )}
      {head.troubles.length > 12 && <p class="soft">and {head.troubles.length - 12 + head.more} more</p>}
    </section>
  );
}

function TroubleItem({ trouble, history, now }: { trouble: Trouble; history: ChangeRecord[]; now: number }): JSX.Element {
  return (
    <li class={trouble.severity}>
      <SeverityIcon severity={trouble.severity} />
      <div>
        <strong>{trouble.title}</strong>
        {trouble.detail && <p>{trouble.detail}</p>}
        <p class="soft">
          {trouble.resource && <ResourceLink resource={trouble.resource} />}
          <Cause trouble={trouble} history={history} now={now} />
          <Nodes trouble={trouble} />
        </p>
      </div>
      <span class="since">
        {trouble.since ? (
          <>
            for <Lasting since={trouble.since} now={now} />
          </>
        ) : null}
      </span>
    </li>
  );
}

function Lasting({ since, now }: { since: string; now: number }): JSX.Element {
  const seconds = Math.max(1, Math.floor((now - Date.parse(since)) / 1000));
  return (
    <time dateTime={since} title={clock(since)}>
      {duration(seconds)}
    </time>
  );
}

function Nodes({ trouble }: { trouble: Trouble }): JSX.Element | null {
  if (trouble.nodes.length === 0) return null;
  const shown = trouble.nodes.slice(0, 3);
  return (
    <span>
      {shown.map((node, at) => (
        <span key={node}>
          {at > 0 && ", "}
          <a href={href("dataplanes", node)}>{node}</a>
        </span>
      ))}
      {trouble.count > shown.length && ` and ${trouble.count - shown.length} more`}
    </span>
  );
}

function Cause({ trouble, history, now }: { trouble: Trouble; history: ChangeRecord[]; now: number }): JSX.Element | null {
  const change = suspect(trouble, history);
  if (!change) return null;
  const words = trouble.revision !== null ? "change" : "last change to it";
  return (
    <span>
      {words}: <a href={href("changes", String(change.revision))}>{change.revision}</a> by {change.author},{" "}
      {ago(change.time, now)}
    </span>
  );
}
