import assert from "node:assert/strict";
import { test } from "node:test";
import { href, parse } from "../src/lib/route";

test("names survive the address", () => {
  const name = "a/b c%20é";
  assert.deepEqual(parse(href("services", name)).parts, ["services", name]);
  assert.deepEqual(parse("#/changes?page=2").query.get("page"), "2");
  assert.deepEqual(parse("").parts, []);
  assert.deepEqual(parse("#/%E0%A4%A").parts, ["%E0%A4%A"]);
});
