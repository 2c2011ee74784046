// The live traffic, and what this page has seen of it during the last hour.
import type { RouteTraffic, ServiceTraffic, Traffic } from "../api/types";
import { Store } from "../lib/store";

export const HOUR = 3600_000;
/** Milliseconds between two samples that are kept. */
export const STEP = 10_000;
/** Services and routes of a sample that are kept: the busiest. An hour is 360 samples, some megabytes at most. */
const KEPT = 60;

export interface Sample {
  at: number;
  traffic: Traffic;
}

export const traffic = new Store<Traffic | null>(null);
export const samples = new Store<Sample[]>([]);
/** Requests a second of the last minutes, a point for each report. */
export const series = new Store<number[]>([]);

export function takeTraffic(news: Traffic): void {
  traffic.set(news);
  series.set([...series.get(), news.total.requests_per_second].slice(-150));
  samples.set(keep(samples.get(), news));
}

/** The samples with a new one, if it is time for one; none is older than an hour. */
export function keep(before: Sample[], news: Traffic): Sample[] {
  const at = Date.parse(news.at);
  const last = before.at(-1);
  if (last !== undefined && at - last.at < STEP) return before;
  const small = { ...news, dataplanes: [], services: news.services.slice(0, KEPT), routes: news.routes.slice(0, KEPT) };
  return [...before.filter((one) => one.at > at - HOUR), { at, traffic: small }];
}

export function ofService(now: Traffic | null, name: string): ServiceTraffic | undefined {
  return now?.services.find((one) => one.service_name === name);
}

export function ofRoute(now: Traffic | null, name: string): RouteTraffic | undefined {
  return now?.routes.find((one) => one.name === name);
}
