// The layout of the traffic map: routes and services in two columns, and the links between them.
import type { RouteTraffic, ServiceTraffic, Traffic } from "../api/types";

export const ROW = 46;
export const GAP = 8;

export interface Placed<T> {
  item: T;
  y: number;
}

export interface Link {
  from: number;
  to: number;
  /** 1 for the busiest. */
  weight: number;
  error_share: number;
  route: string;
}

export interface TrafficMap {
  routes: Placed<RouteTraffic>[];
  services: Placed<ServiceTraffic>[];
  links: Link[];
  height: number;
  hidden: number;
}

/** The busiest routes with their services, and services in trouble even without requests; sorted so that links cross little. */
export function layout(traffic: Traffic, most: number): TrafficMap {
  const named = traffic.routes.filter((one) => one.name !== "");
  const routes = named.slice(0, most);
  const wanted = new Set(routes.map((one) => one.service_name));
  const services = traffic.services.filter((one) => wanted.has(one.service_name) || one.circuit !== "closed").slice(0, most);
  const places = services.map((item, at) => ({ item, y: at * (ROW + GAP) }));
  const where = new Map(places.map((one) => [one.item.service_name, one.y]));
  const sorted = [...routes].sort((one, other) => order(one, where) - order(other, where));
  const left = sorted.map((item, at) => ({ item, y: at * (ROW + GAP) }));
  const busiest = Math.max(1e-9, ...routes.map((one) => one.requests_per_second));
  const links = left.flatMap(({ item, y }) => {
    const to = item.service_name === null ? undefined : where.get(item.service_name);
    if (to === undefined) return [];
    const weight = item.requests_per_second / busiest;
    return [{ from: y + ROW / 2, to: to + ROW / 2, weight, error_share: item.error_share, route: item.name }];
  });
  const height = Math.max(left.length, places.length, 1) * (ROW + GAP);
  return { routes: left, services: places, links, height, hidden: named.length - routes.length };
}

function order(one: RouteTraffic, where: Map<string, number>): number {
  return (one.service_name === null ? undefined : where.get(one.service_name)) ?? Number.MAX_SAFE_INTEGER;
}
