// Requests a second, from the counters that data planes report.
import type { Dataplane } from "../api/types";
import { Store } from "../lib/store";
import { fleet } from "./fleet";

export interface Rates {
  nodes: Map<string, number>;
  total: number | null;
  /** The total, a point for each report, the newest at the end. */
  series: number[];
}

const POINTS = 120;
export const rates = new Store<Rates>({ nodes: new Map(), total: null, series: [] });
const seen = new Map<string, { at: number; count: number }>();

/** The rate between two counts; null when a process restarted, or no time has passed. */
export function rate(before: { at: number; count: number }, at: number, count: number): number | null {
  const seconds = (at - before.at) / 1000;
  return seconds > 0 && count >= before.count ? (count - before.count) / seconds : null;
}

export function measure(dataplanes: Iterable<Dataplane>, before: Rates): Rates {
  const nodes = new Map<string, number>();
  let news = false;
  for (const one of dataplanes) {
    if (!one.connected || one.stats_at === null) continue;
    const at = Date.parse(one.stats_at);
    const last = seen.get(one.node);
    const known = before.nodes.get(one.node);
    if (last?.at === at) {
      if (known !== undefined) nodes.set(one.node, known);
      continue;
    }
    news = true;
    const found = last ? rate(last, at, one.total_requests) : null;
    seen.set(one.node, { at, count: one.total_requests });
    if (found !== null) nodes.set(one.node, found);
  }
  if (nodes.size === 0) return { ...before, nodes };
  const total = [...nodes.values()].reduce((sum, value) => sum + value, 0);
  return { nodes, total, series: news ? [...before.series, total].slice(-POINTS) : before.series };
}

fleet.follow((state) => {
  if (state) rates.set(measure(state.dataplanes.values(), rates.get()));
});
