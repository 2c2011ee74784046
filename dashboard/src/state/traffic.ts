// The live traffic. What was before is recorded by the control plane: GET /api/v1/traffic/history.
import { get } from "../api/client";
import type { RouteTraffic, ServiceTraffic, Traffic, TrafficHistory } from "../api/types";
import { Store } from "../lib/store";

export const traffic = new Store<Traffic | null>(null);
/** Requests a second of the last minutes, a point for each report. */
export const series = new Store<number[]>([]);

export function takeTraffic(news: Traffic): void {
  traffic.set(news);
  series.set([...series.get(), news.total.requests_per_second].slice(-150));
}

/** Begin the series with what is on record of the last minutes. */
export async function recall(): Promise<void> {
  const found = await get<TrafficHistory>("/api/v1/traffic/history").catch(() => null);
  const before = found?.points.slice(-60).map((one) => one.requests_per_second) ?? [];
  if (before.length) series.set([...before, ...series.get()].slice(-150));
}

export function ofService(now: Traffic | null, name: string): ServiceTraffic | undefined {
  return now?.services.find((one) => one.service_name === name);
}

export function ofRoute(now: Traffic | null, name: string): RouteTraffic | undefined {
  return now?.routes.find((one) => one.name === name);
}
