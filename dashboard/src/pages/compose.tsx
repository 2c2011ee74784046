import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { ApiError, send } from "../api/client";
import type { Receipt } from "../api/types";
import { useTitle } from "../lib/hooks";
import { go, href } from "../lib/route";
import { summary } from "../lib/words";
import { mayWrite } from "../state/session";
import { Empty, Failure, Panel, Same } from "../ui/parts";
import { Edits } from "./edits";

const EXAMPLE = `routes:
  - name: orders
    prefix: /orders
    service_name: orders
    scopes: [orders:read]
`;
const DRAFT = "headgate-draft";

export function ComposePage(): JSX.Element {
  useTitle("Make a change");
  const [text, setText] = useState(window.sessionStorage.getItem(DRAFT) ?? "");
  const [plan, setPlan] = useState<Receipt>();
  const [error, setError] = useState<ApiError>();
  const [busy, setBusy] = useState(false);
  if (!mayWrite()) return <Empty>Log in as a user with the scope gateway:admin to change something.</Empty>;
  const edit = (value: string): void => {
    setText(value);
    setPlan(undefined);
    window.sessionStorage.setItem(DRAFT, value);
  };
  const post = (query: string, done: (receipt: Receipt) => void): void => {
    setBusy(true);
    setError(undefined);
    send<Receipt>("POST", `/api/v1/apply${query}`, text, "application/yaml")
      .then(done, (problem: unknown) => {
        if (problem instanceof ApiError) setError(problem);
      })
      .finally(() => setBusy(false));
  };
  const apply = (): void =>
    post("", (receipt) => {
      window.sessionStorage.removeItem(DRAFT);
      go(href("changes", String(receipt.revision)));
    });
  const changes = plan?.changes.filter((one) => one.action !== "unchanged") ?? [];
  return (
    <>
      <h1>Make a change</h1>
      <Panel title="Document" aside={<span class="soft">YAML or JSON. Resources that you leave out do not change.</span>}>
        <textarea
          aria-label="Document"
          spellcheck={false}
          rows={14}
          value={text}
          placeholder={EXAMPLE}
          onInput={(event) => edit(event.currentTarget.value)}
        />
        <p class="actions">
          <button type="button" class="primary" disabled={busy || !text.trim()} onClick={() => post("?dry_run=true", setPlan)}>
            Preview
          </button>
        </p>
      </Panel>
      {error && <Failure error={error} />}
      {plan && (
        <Panel title={`Preview: ${summary(plan.changes, true)}`}>
          {plan.warnings && (
            <ul class="problems">
              {plan.warnings.map((one) => (
                <li key={one.field + one.detail} class="warned">
                  <code>{one.field}</code> {one.detail}
                </li>
              ))}
            </ul>
          )}
          <Edits edits={plan.edits ?? []} />
          {changes.length > 0 && (
            <p class="actions">
              <button type="button" class="primary" disabled={busy} onClick={apply}>
                Apply
              </button>
              <span class="soft">You then see it reach the data planes.</span>
            </p>
          )}
        </Panel>
      )}
      <Same command="headgate apply -f FILE --dry-run" />
    </>
  );
}
