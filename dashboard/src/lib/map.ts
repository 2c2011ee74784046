// The layout of the traffic map: routes and services in two columns, and the links between them.
import type { RouteTraffic, ServiceTraffic, Traffic } from "../api/types";

export const ROW = 50;
export const GAP = 8;

export interface Placed<T> {
  item: T;
  y: number;
}

export interface Link {
  id: string;
  from: number;
  to: number;
  /** 1 for the busiest. */
  weight: number;
  error_share: number;
}

export interface TrafficMap {
  routes: Placed<RouteTraffic>[];
  services: Placed<ServiceTraffic>[];
  /** From all clients to routes, and from routes to services. */
  clients: Link[];
  links: Link[];
  height: number;
  hidden: number;
}

export function destinations(one: RouteTraffic): string[] {
  return one.service_name === null ? one.services : [one.service_name];
}

/** The busiest routes with their services, and services in trouble even without requests; sorted so that links cross little. */
export function layout(traffic: Traffic, most: number): TrafficMap {
  const named = traffic.routes.filter((one) => one.name !== "");
  const routes = named.slice(0, most);
  const wanted = new Set(routes.flatMap(destinations));
  const ill = (one: ServiceTraffic): boolean => one.circuit !== "closed" || one.ejected > 0;
  const services = traffic.services.filter((one) => wanted.has(one.service_name) || ill(one)).slice(0, most);
  const places = services.map((item, at) => ({ item, y: at * (ROW + GAP) }));
  const where = new Map(places.map((one) => [one.item.service_name, one.y]));
  const sorted = [...routes].sort((one, other) => order(one, where) - order(other, where));
  const left = sorted.map((item, at) => ({ item, y: at * (ROW + GAP) }));
  const busiest = Math.max(1e-9, ...routes.map((one) => one.requests_per_second));
  const height = Math.max(left.length, places.length, 1) * (ROW + GAP) - GAP;
  const link = (one: RouteTraffic, id: string, from: number, to: number): Link => {
    return { id, from, to, weight: one.requests_per_second / busiest, error_share: one.error_share };
  };
  const links = left.flatMap(({ item, y }) =>
    destinations(item).flatMap((name) => {
      const to = where.get(name);
      return to === undefined ? [] : [link(item, `${item.name} ${name}`, y + ROW / 2, to + ROW / 2)];
    }),
  );
  const clients = left.map(({ item, y }) => link(item, item.name, ROW / 2, y + ROW / 2));
  return { routes: left, services: places, clients, links, height, hidden: named.length - routes.length };
}

function order(one: RouteTraffic, where: Map<string, number>): number {
  const [first = ""] = destinations(one);
  return where.get(first) ?? Number.MAX_SAFE_INTEGER;
}
