// What a change does, in words and field by field.
import type { JSX } from "preact";
import type { Edit, Json } from "../api/types";
import { phrase, sentence, show } from "../lib/words";
import { Badge, Empty, ResourceLink, type Tone } from "../ui/parts";

const TONES: Record<string, Tone> = { create: "ok", update: "info", delete: "critical" };
const MOST = 100;

export function Edits({ edits }: { edits: Edit[] }): JSX.Element {
  if (edits.length === 0) return <Empty>Nothing differs.</Empty>;
  return (
    <ul class="edits">
      {edits.slice(0, MOST).map((one) => (
        <li key={`${one.kind}/${one.name}`}>
          <Badge tone={TONES[one.action] ?? "quiet"}>{one.action}</Badge> <ResourceLink resource={`${one.kind}/${one.name}`} />
          <Fields edit={one} />
        </li>
      ))}
      {edits.length > MOST && <li class="soft">and {edits.length - MOST} more</li>}
    </ul>
  );
}

function Fields({ edit }: { edit: Edit }): JSX.Element {
  if (edit.action === "update") {
    return (
      <ul>
        {edit.fields.map((one) => (
          <li key={one.field}>
            <span class="visually-hidden">{phrase(one.field, one.before, one.after)}</span>
            <span aria-hidden="true">
              <code>{one.field}</code> <del>{show(one.before)}</del> → <ins>{show(one.after)}</ins>
            </span>
          </li>
        ))}
        {edit.password && <li>a new password</li>}
      </ul>
    );
  }
  const fields = edit.after ?? edit.before;
  return (
    <details>
      <summary>{sentence(edit)}</summary>
      <Document value={fields} />
    </details>
  );
}

/** A resource as JSON. */
export function Document({ value }: { value: Record<string, Json> | null }): JSX.Element {
  return (
    <pre tabIndex={0} aria-label="Fields">
      {JSON.stringify(value, null, 2)}
    </pre>
  );
}
