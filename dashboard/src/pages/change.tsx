import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { ApiError, get, send } from "../api/client";
import type { ChangeRecord, Dataplane, Edit, Receipt, WholeChange } from "../api/types";
import { duration, plural } from "../lib/format";
import { useLoad, useNow, useTitle } from "../lib/hooks";
import { go, href } from "../lib/route";
import { useStore } from "../lib/store";
import { fleet, skew, standing, type Fleet } from "../state/fleet";
import { mayWrite } from "../state/session";
import { Bar, Squares } from "../ui/charts";
import { Badge, Failure, Loading, Panel, Same, Time } from "../ui/parts";
import { Edits } from "./edits";

export function ChangePage({ revision }: { revision: number }): JSX.Element {
  useTitle(`Change ${revision}`);
  const now = useNow() + skew;
  const change = useLoad<WholeChange>(`/api/v1/history/${revision}`);
  if (change.error) return <NoRecord revision={revision} error={change.error} />;
  if (!change.data) return <Loading />;
  const one = change.data;
  return (
    <>
      <div class="heading">
        <h1>
          Change {revision}: {one.summary}
        </h1>
        <span class="soft">
          by {one.author}, <Time at={one.time} now={now} />
        </span>
      </div>
      <Progress revision={revision} />
      <Panel title="What changed">
        {one.whole ? <Edits edits={one.edits} /> : <p class="soft">Too large to be recorded field by field.</p>}
      </Panel>
      {mayWrite() && one.whole && <RollBack revision={revision} />}
      <Same command={`headgate history -n 50`} />
    </>
  );
}

function NoRecord({ revision, error }: { revision: number; error: ApiError }): JSX.Element {
  return (
    <>
      <h1>Revision {revision}</h1>
      <Failure error={error} />
      <Progress revision={revision} />
    </>
  );
}

type Step = "done" | "waiting" | "rejecting" | "gone";
const TONES: Record<Step, string> = { done: "ok", waiting: "warning", rejecting: "critical", gone: "quiet" };

/** How far one data plane is on its way to a revision. */
export function step(one: Dataplane, revision: number, state: Fleet): Step {
  const { head } = state;
  if (!one.connected) return "gone";
  if (one.applied_revision >= revision) return "done";
  const where = standing(one, head.digest);
  if (where === "serving" && head.revision >= revision) return "done";
  return where === "rejecting" ? "rejecting" : "waiting";
}

function Progress({ revision }: { revision: number }): JSX.Element | null {
  const state = useStore(fleet);
  if (state === null) return null;
  const nodes = [...state.dataplanes.values()].sort((one, other) => (one.node < other.node ? -1 : 1));
  const steps = new Map(nodes.map((one) => [one.node, step(one, revision, state)]));
  const count = (which: Step): number => nodes.filter((one) => steps.get(one.node) === which).length;
  const [done, waiting, rejecting] = [count("done"), count("waiting"), count("rejecting")];
  const total = done + waiting + rejecting;
  const title = rejecting ? "Rejected by some" : waiting ? "On its way" : "Served everywhere";
  const current = state.head.revision === revision;
  const slowest = Math.max(0, ...nodes.filter((one) => one.connected).map((one) => one.seconds_to_apply ?? 0));
  return (
    <Panel
      title={title}
      aside={
        <span class="soft" aria-live="polite">
          {done} of {plural(total, "data plane")}
          {current && done === total && slowest > 0 ? `; the slowest took ${duration(slowest)}` : ""}
        </span>
      }
    >
      <Bar
        label="Data planes"
        parts={[
          { tone: "ok", count: done, label: "serve it" },
          { tone: "warning", count: waiting, label: "wait for it" },
          { tone: "critical", count: rejecting, label: "reject it" },
        ]}
      />
      <Squares
        label="Progress of each data plane"
        items={nodes}
        id={(one) => one.node}
        tone={(one) => TONES[steps.get(one.node) ?? "gone"]}
        title={(one) => `${one.node}: ${steps.get(one.node)}`}
        link={(one) => href("dataplanes", one.node)}
      />
      <Rejections nodes={nodes.filter((one) => steps.get(one.node) === "rejecting")} />
    </Panel>
  );
}

function Rejections({ nodes }: { nodes: Dataplane[] }): JSX.Element | null {
  if (nodes.length === 0) return null;
  return (
    <ul class="problems">
      {nodes.slice(0, 10).map((one) => (
        <li key={one.node}>
          <Badge tone="critical">rejects</Badge> <a href={href("dataplanes", one.node)}>{one.node}</a>:{" "}
          {one.last_rejection?.problems.map((problem) => `${problem.resource} ${problem.field}: ${problem.detail}`).join("; ")}
        </li>
      ))}
    </ul>
  );
}

interface Plan {
  to: number;
  edits: Edit[];
}

/** The edits that lead back: those of the way here, turned around. */
export function reversed(edits: Edit[]): Edit[] {
  const back: Record<string, string> = { create: "delete", delete: "create", update: "update" };
  return edits.map((one) => ({
    ...one,
    action: back[one.action] ?? one.action,
    before: one.after,
    after: one.before,
    fields: one.fields.map((field) => ({ field: field.field, before: field.after, after: field.before })),
  }));
}

function RollBack({ revision }: { revision: number }): JSX.Element {
  const [plan, setPlan] = useState<Plan>();
  const [error, setError] = useState<ApiError>();
  const [busy, setBusy] = useState(false);
  const act = (work: () => Promise<void>): void => {
    setBusy(true);
    setError(undefined);
    work()
      .catch((problem: unknown) => {
        if (problem instanceof ApiError) setError(problem);
      })
      .finally(() => setBusy(false));
  };
  const preview = (): void =>
    act(async () => {
      const [before] = await get<ChangeRecord[]>(`/api/v1/history?limit=1&before=${revision}`);
      if (!before) throw new ApiError(404, "There is no earlier configuration on record");
      const edits = await get<Edit[]>(`/api/v1/diff?from=${before.revision}`);
      await send<Receipt>("POST", "/api/v1/rollback?dry_run=true", { to: before.revision });
      setPlan({ to: before.revision, edits: reversed(edits.filter((one) => one.kind !== "user")) });
    });
  const apply = (to: number): void =>
    act(async () => {
      const receipt = await send<Receipt>("POST", "/api/v1/rollback", { to });
      setPlan(undefined);
      go(href("changes", String(receipt.revision)));
    });
  return (
    <Panel title="Roll back">
      {error && <Failure error={error} />}
      {plan === undefined ? (
        <p>
          <button type="button" class="danger" disabled={busy} onClick={preview}>
            Restore the configuration before this change …
          </button>{" "}
          <span class="soft">Later changes are undone, too. You see first what would change.</span>
        </p>
      ) : (
        <>
          <p>This restores revision {plan.to}, as a new change. Users stay as they are.</p>
          <Edits edits={plan.edits} />
          <p class="actions">
            <button type="button" class="danger" disabled={busy} onClick={() => apply(plan.to)}>
              Roll back to revision {plan.to}
            </button>
            <button type="button" onClick={() => setPlan(undefined)}>
              Cancel
            </button>
          </p>
        </>
      )}
    </Panel>
  );
}
