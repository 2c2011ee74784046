import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { ApiError, send } from "../api/client";
import type { Explanation, Step } from "../api/types";
import { useTitle } from "../lib/hooks";
import { href } from "../lib/route";
import { TapPanel } from "./tap";
import { Badge, Failure, Panel, Same, type Tone } from "../ui/parts";

const TONES: Record<string, Tone> = { passed: "ok", refused: "critical", skipped: "quiet", not_reached: "quiet" };

/** Header fields from lines "Name: value"; what has no colon is left out. */
export function headers(text: string): Record<string, string> {
  const pairs = text
    .split("\n")
    .map((line) => line.split(/:(.*)/s, 2).map((part) => part.trim()))
    .filter(([name, value]) => name && value !== undefined);
  return Object.fromEntries(pairs) as Record<string, string>;
}

export function ExplainPage(): JSX.Element {
  useTitle("Explain");
  const [found, setFound] = useState<Explanation>();
  const [error, setError] = useState<ApiError>();
  const [busy, setBusy] = useState(false);
  const submit = (event: Event): void => {
    event.preventDefault();
    const form = new FormData(event.currentTarget as HTMLFormElement);
    const text = (name: string): string => String(form.get(name) ?? "").trim();
    const body = {
      method: text("method") || "GET",
      url: text("url"),
      headers: headers(text("headers")),
      ...(text("token") ? { token: text("token") } : {}),
      ...(text("client") ? { client: text("client") } : {}),
      ...(text("at") ? { at: Number(text("at")) } : {}),
    };
    setBusy(true);
    setError(undefined);
    send<Explanation>("POST", "/api/v1/explain", body)
      .then(setFound, (problem: unknown) => {
        setFound(undefined);
        if (problem instanceof ApiError) setError(problem);
      })
      .finally(() => setBusy(false));
  };
  return (
    <>
      <h1>Explain a request</h1>
      <Panel title="Request" aside={<span class="soft">Nothing is sent to any instance, and no limit is counted.</span>}>
        <form class="explain" onSubmit={submit}>
          <label>
            Method
            <input name="method" defaultValue="GET" size={7} />
          </label>
          <label class="long">
            URL or path
            <input name="url" placeholder="/orders?page=2" required />
          </label>
          <label class="long">
            Token
            <input name="token" type="password" autoComplete="off" placeholder="none" />
          </label>
          <label>
            Client address
            <input name="client" placeholder="127.0.0.1" size={14} />
          </label>
          <label>
            At revision
            <input name="at" inputMode="numeric" pattern="[0-9]*" placeholder="served" size={8} />
          </label>
          <label class="whole">
            Headers
            <textarea name="headers" rows={2} placeholder="X-Tenant: acme" spellcheck={false} />
          </label>
          <button type="submit" class="primary" disabled={busy}>
            {busy ? "Asking a data plane …" : "Explain"}
          </button>
        </form>
      </Panel>
      {error && <Failure error={error} />}
      {found && <Answer found={found} />}
      <TapPanel />
      <Same command="headgate explain GET /orders" />
    </>
  );
}

function Answer({ found }: { found: Explanation }): JSX.Element {
  const forwarded = found.status === null;
  const title = forwarded ? `Forwarded to ${found.service}` : `Answered with ${found.status}: ${found.detail}`;
  return (
    <Panel
      title={title}
      aside={
        <span class="soft">
          by <a href={href("dataplanes", found.dataplane)}>{found.dataplane}</a> at revision {found.revision}
        </span>
      }
    >
      {found.reason && <p>{found.reason}</p>}
      <p class="soft">
        {found.route && (
          <>
            route <a href={href("routes", found.route)}>{found.route}</a>{" "}
          </>
        )}
        {found.instance && <>instance {found.instance}</>}
      </p>
      <ol class="lines">
        {found.steps.map((one, at) => (
          <StepItem key={at} step={one} />
        ))}
      </ol>
    </Panel>
  );
}

function StepItem({ step }: { step: Step }): JSX.Element {
  const facts = Object.keys(step.details).length > 0;
  return (
    <li class="step">
      <span>
        <Badge tone={TONES[step.outcome] ?? "info"}>{step.outcome.replace("_", " ")}</Badge>
      </span>
      <span>
        <strong>{step.stage.replace("_", " ")}</strong>: {step.text}
        {facts && (
          <details>
            <summary>Facts</summary>
            <pre tabIndex={0} aria-label={`Facts of ${step.stage}`}>
              {JSON.stringify(step.details, null, 2)}
            </pre>
          </details>
        )}
      </span>
    </li>
  );
}
