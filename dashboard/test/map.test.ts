import assert from "node:assert/strict";
import { test } from "node:test";
import type { RouteTraffic, ServiceTraffic, Traffic } from "../src/api/types";
import { layout } from "../src/lib/map";
import { ranked, reasonWords, total } from "../src/lib/reasons";
import { runs, span } from "../src/ui/history";

function route(name: string, rate: number, services: string[]): RouteTraffic {
  const [only = null] = services.length === 1 ? services : [];
  const rates = { requests_per_second: rate, client_errors_per_second: 0, server_errors_per_second: 0, error_share: 0 };
  return { name, service_name: only, services: services.length > 1 ? services : [], rate_limits: [], refusals: {}, ...rates };
}

function service(service_name: string, news: Partial<ServiceTraffic> = {}): ServiceTraffic {
  const rates = { requests_per_second: 1, errors_per_second: 0, error_share: 0, p50: null, p99: null };
  const state = { circuit: "closed", open_at: [], healthy: 1, total: 1, failures: {}, ejected: 0, instances: [] } as const;
  return { service_name, ...rates, ...state, open_at: [], instances: [], ...news };
}

function traffic(routes: RouteTraffic[], services: ServiceTraffic[]): Traffic {
  const total = { requests_per_second: 0, client_errors_per_second: 0, server_errors_per_second: 0, error_share: 0, p50: null, p99: null, refusals: {} };
  return { at: "", every: 2, revision: 1, total, dataplanes: [], services, routes, limits: [] };
}

test("a route with several services has a link to each", () => {
  const found = layout(traffic([route("split", 4, ["a", "b"]), route("", 9, [])], [service("b"), service("a")]), 10);
  assert.deepEqual(found.links.map((one) => one.id), ["split a", "split b"]);
  assert.deepEqual(found.routes.map((one) => one.item.name), ["split"]);
});

test("services in trouble are on the map without requests, others are not", () => {
  const services = [service("a"), service("quiet"), service("open", { circuit: "open" }), service("out", { ejected: 1 })];
  const found = layout(traffic([route("a", 1, ["a"])], services), 10);
  assert.deepEqual(found.services.map((one) => one.item.service_name), ["a", "open", "out"]);
});

test("only the busiest routes are drawn, and the others are counted", () => {
  const routes = [3, 2, 1].map((rate) => route(`r${rate}`, rate, ["a"]));
  assert.equal(layout(traffic(routes, [service("a")]), 2).hidden, 1);
});

test("reasons in words, the most frequent first", () => {
  assert.deepEqual(ranked({ forbidden: 1, limited: 3 }), [["limited", 3], ["forbidden", 1]]);
  assert.equal(reasonWords("limited"), "over a limit");
  assert.equal(reasonWords("some_new_one"), "some new one");
  assert.equal(total({ a: 1, b: 2 }), 3);
});

test("a chart has a gap where nothing was recorded", () => {
  const point = (at: string) => ({ at, requests_per_second: 1, client_errors_per_second: 0, server_errors_per_second: 0, p50: null, p99: null });
  const points = ["03:00:00", "03:00:10", "03:05:00", "03:59:51"].map((time) => point(`2026-11-30T${time}Z`));
  assert.deepEqual(runs(points, 10).map((run) => run.length), [2, 1, 1]);
  assert.equal(span(points), "1 h");
  assert.equal(span(points.slice(0, 1)), "");
});
