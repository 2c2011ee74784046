import assert from "node:assert/strict";
import { test } from "node:test";
import { pause } from "../src/api/stream";

test("attempts to connect again come less and less often, and spread", () => {
  const latest = [0, 1, 2, 3, 4, 9].map((failures) => pause(failures, () => 1));
  assert.deepEqual(latest, [1000, 2000, 4000, 8000, 15_000, 15_000]);
  assert.equal(pause(0, () => 0), 500);
});
