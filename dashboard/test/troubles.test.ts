import assert from "node:assert/strict";
import { test } from "node:test";
import type { ChangeRecord, Trouble } from "../src/api/types";
import { suspect } from "../src/lib/suspect";

const history: ChangeRecord[] = [
  change(12, "2026-11-30T03:10:00Z", "service", "orders"),
  change(11, "2026-11-30T03:05:00Z", "route", "orders"),
  change(10, "2026-11-30T03:00:00Z", "service", "orders"),
];

function change(revision: number, time: string, kind: string, name: string): ChangeRecord {
  return { revision, time, author: "a", summary: "", whole: true, changes: [{ action: "update", kind, name }] };
}

function trouble(news: Partial<Trouble>): Trouble {
  const plain = { severity: "critical", kind: "health", title: "", detail: "", nodes: [], count: 0 } as const;
  return { ...plain, since: null, resource: "", revision: null, nodes: [], ...news };
}

test("the suspect is the change of the revision, or the last one to the resource before it began", () => {
  assert.equal(suspect(trouble({ revision: 11 }), history)?.revision, 11);
  const before = trouble({ resource: "service/orders", since: "2026-11-30T03:06:00Z" });
  assert.equal(suspect(before, history)?.revision, 10);
  assert.equal(suspect(trouble({ resource: "service/orders" }), history)?.revision, 12);
  assert.equal(suspect(trouble({ resource: "service/other" }), history), undefined);
  assert.equal(suspect(trouble({}), history), undefined);
});
