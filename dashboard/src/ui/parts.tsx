// Small parts of pages.
import type { ComponentChildren, JSX } from "preact";
import { useState } from "preact/hooks";
import type { ApiError } from "../api/client";
import { ago, clock } from "../lib/format";
import { href } from "../lib/route";
import { Icon, type IconName } from "./icons";

export type Tone = "ok" | "warning" | "critical" | "info" | "quiet";

export function Badge({ tone, children }: { tone: Tone; children: ComponentChildren }): JSX.Element {
  return <span class={`badge ${tone}`}>{children}</span>;
}

export function Panel(props: {
  title: string;
  aside?: ComponentChildren;
  children: ComponentChildren;
  class?: string;
}): JSX.Element {
  return (
    <section class={`panel ${props.class ?? ""}`} aria-label={props.title}>
      <header>
        <h2>{props.title}</h2>
        {props.aside}
      </header>
      {props.children}
    </section>
  );
}

export function Figure(props: { label: string; value: ComponentChildren; note?: ComponentChildren; tone?: Tone }): JSX.Element {
  return (
    <div class={`figure ${props.tone ?? ""}`}>
      <dt>{props.label}</dt>
      <dd>{props.value}</dd>
      {props.note !== undefined && <dd class="note">{props.note}</dd>}
    </div>
  );
}

export function Empty({ children }: { children: ComponentChildren }): JSX.Element {
  return <p class="empty">{children}</p>;
}

export function Loading(): JSX.Element {
  return (
    <div class="loading" role="status">
      <span class="skeleton" />
      <span class="skeleton" />
      <span class="skeleton short" />
      <span class="visually-hidden">Loading</span>
    </div>
  );
}

export function Failure({ error, retry }: { error: ApiError; retry?: () => void }): JSX.Element {
  return (
    <div class="failure" role="alert">
      <Icon name="critical" />
      <div>
        <p>{error.message}</p>
        {error.errors.length > 0 && (
          <ul>
            {error.errors.map((one) => (
              <li key={one.field + one.detail}>
                <code>{one.field}</code> {one.detail}
              </li>
            ))}
          </ul>
        )}
      </div>
      {retry && (
        <button type="button" onClick={retry}>
          Try again
        </button>
      )}
    </div>
  );
}

export function Time({ at, now }: { at: string | null; now: number }): JSX.Element {
  return (
    <time dateTime={at ?? ""} title={clock(at)}>
      {ago(at, now)}
    </time>
  );
}

/** The command that gives the same answer in a terminal. */
export function Same({ command }: { command: string }): JSX.Element {
  const [copied, setCopied] = useState(false);
  const copy = (): void => {
    void navigator.clipboard?.writeText(command).then(() => {
      setCopied(true);
      window.setTimeout(() => setCopied(false), 1500);
    });
  };
  return (
    <p class="same">
      <span>In a terminal:</span> <code>{command}</code>
      <button type="button" class="quiet" onClick={copy} aria-label={`Copy ${command}`}>
        {copied ? "copied" : <Icon name="copy" />}
      </button>
    </p>
  );
}

/** A link to the page of a resource, by kind and name such as route/orders. */
export function ResourceLink({ resource }: { resource: string }): JSX.Element {
  const [kind = "", ...rest] = resource.split("/");
  const name = rest.join("/");
  const pages: Record<string, string[]> = {
    service: ["services", name],
    route: ["routes", name],
    instance: ["services", rest[0] ?? ""],
    rate_limit: ["limits", name],
  };
  const page = pages[kind];
  return page ? <a href={href(...page)}>{resource}</a> : <span>{resource}</span>;
}

export function SeverityIcon({ severity }: { severity: "critical" | "warning" | "info" }): JSX.Element {
  const name: IconName = severity;
  return <Icon name={name} />;
}
