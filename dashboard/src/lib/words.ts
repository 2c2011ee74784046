// Changes of resources in words.
import type { Changed, Edit, Json } from "../api/types";
import { plural } from "./format";

const PAST: Record<string, string> = { create: "Created", update: "Changed", delete: "Deleted" };
const FUTURE: Record<string, string> = { create: "Create", update: "Change", delete: "Delete" };

export function show(value: Json | undefined): string {
  if (value === null || value === undefined) return "nothing";
  if (typeof value === "string") return value === "" ? "empty" : value;
  if (Array.isArray(value)) return value.length ? value.map(show).join(", ") : "nothing";
  if (typeof value === "object") return JSON.stringify(value);
  return String(value);
}

/** One sentence for an edit: "Changed route orders: timeout from 5 to 10". */
export function sentence(edit: Edit): string {
  const head = `${PAST[edit.action] ?? edit.action} ${edit.kind.replace("_", " ")} ${edit.name}`;
  if (edit.action !== "update") return head;
  const fields = edit.fields.map((one) => phrase(one.field, one.before, one.after));
  if (edit.password) fields.push("its password");
  return fields.length ? `${head}: ${fields.join("; ")}` : head;
}

export function phrase(field: string, before: Json, after: Json): string {
  if (Array.isArray(before) && Array.isArray(after)) {
    const removed = before.filter((one) => !after.some((other) => same(one, other)));
    const added = after.filter((one) => !before.some((other) => same(one, other)));
    const parts = [
      added.length ? `${field} gains ${show(added)}` : "",
      removed.length ? `${field} loses ${show(removed)}` : "",
    ].filter(Boolean);
    return parts.length ? parts.join(" and ") : `${field} in another order`;
  }
  if (before === null || before === undefined) return `${field} set to ${show(after)}`;
  if (after === null || after === undefined) return `${field} removed (was ${show(before)})`;
  return `${field} from ${show(before)} to ${show(after)}`;
}

function same(one: Json, other: Json): boolean {
  return JSON.stringify(one) === JSON.stringify(other);
}

/** What a change is about, for a list: "2 routes changed, 1 service created". */
export function summary(changes: Changed[], planned = false): string {
  const counts = new Map<string, number>();
  for (const one of changes) {
    if (one.action === "unchanged") continue;
    const key = `${one.action} ${one.kind}`;
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  const words = [...counts].map(([key, count]) => {
    const [action = "", kind = ""] = key.split(" ");
    const noun = plural(count, kind.replace("_", " "));
    return planned ? `${FUTURE[action] ?? action} ${noun}` : `${noun} ${(PAST[action] ?? action).toLowerCase()}`;
  });
  return words.join(", ") || "Nothing differs";
}
