import assert from "node:assert/strict";
import { test } from "node:test";
import { phrase, sentence, summary } from "../src/lib/words";

test("a field in words", () => {
  assert.equal(phrase("timeout", 5, 10), "timeout from 5 to 10");
  assert.equal(phrase("timeout", null, 10), "timeout set to 10");
  assert.equal(phrase("timeout", 5, null), "timeout removed (was 5)");
  assert.equal(phrase("methods", ["GET"], ["GET", "POST"]), "methods gains POST");
  assert.equal(phrase("scopes", ["a", "b"], ["c"]), "scopes gains c and scopes loses a, b");
  assert.equal(phrase("scopes", ["a", "b"], ["b", "a"]), "scopes in another order");
});

test("an edit in a sentence", () => {
  const edit = { action: "update", kind: "rate_limit", name: "x", before: {}, after: {}, password: false };
  const fields = [{ field: "burst", before: 1, after: 2 }];
  assert.equal(sentence({ ...edit, fields }), "Changed rate limit x: burst from 1 to 2");
  assert.equal(sentence({ ...edit, kind: "user", fields: [], password: true }), "Changed user x: its password");
  assert.equal(sentence({ ...edit, action: "create", fields: [] }), "Created rate limit x");
});

test("a change in a line", () => {
  const changes = [
    { action: "update", kind: "route", name: "a" },
    { action: "update", kind: "route", name: "b" },
    { action: "create", kind: "service", name: "c" },
    { action: "unchanged", kind: "service", name: "d" },
  ];
  assert.equal(summary(changes), "2 routes changed, 1 service created");
  assert.equal(summary(changes, true), "Change 2 routes, Create 1 service");
  assert.equal(summary([]), "Nothing differs");
});
