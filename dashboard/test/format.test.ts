import assert from "node:assert/strict";
import { test } from "node:test";
import { ago, bytes, duration, number, percent } from "../src/lib/format";

test("durations have at most two units", () => {
  const told = [0, 0.0004, 0.25, 3, 3.26, 59.6, 61, 3600, 3720, 90061].map(duration);
  assert.deepEqual(told, ["0 s", "< 1 ms", "250 ms", "3 s", "3.3 s", "1 min", "1 min 1 s", "1 h", "1 h 2 min", "1 d 1 h"]);
});

test("numbers have about three digits", () => {
  const told = [0, 0.123, 3, 12.34, 99.96, 1234, 12_345, 1_234_567, null, Number.NaN].map(number);
  assert.deepEqual(told, ["0", "0.12", "3", "12.3", "100", "1234", "12.3k", "1.23M", "–", "–"]);
});

test("shares and sizes", () => {
  assert.deepEqual([0, 0.0004, 0.012, 0.5].map(percent), ["0 %", "< 0.1 %", "1.2 %", "50 %"]);
  assert.deepEqual([64e6, 1.25e9, null].map(bytes), ["64 MB", "1.3 GB", "–"]);
});

test("a time that is a moment ahead of this clock is now", () => {
  const now = Date.parse("2026-11-30T03:00:00Z");
  assert.equal(ago("2026-11-30T03:00:01Z", now), "now");
  assert.equal(ago("2026-11-30T02:57:00Z", now), "3 min ago");
  assert.equal(ago(null, now), "–");
});
