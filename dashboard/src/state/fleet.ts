// The fleet, as the control plane's stream tells it.
import { follow, type Connection } from "../api/stream";
import type { Dataplane, FleetPatch, FleetState, Head, Traffic } from "../api/types";
import { Store } from "../lib/store";
import { recall, takeTraffic } from "./traffic";

export interface Fleet {
  head: Head;
  dataplanes: Map<string, Dataplane>;
}

export const fleet = new Store<Fleet | null>(null);
export const connection = new Store<Connection>({ state: "connecting", since: Date.now() });
/** Milliseconds by which the clock of the control plane is ahead of this one. */
export let skew = 0;

function take(state: FleetState): void {
  const { dataplanes, ...head } = state;
  skew = Date.parse(head.time) - Date.now();
  fleet.set({ head, dataplanes: new Map(dataplanes.map((one) => [one.node, one])) });
}

function patch(news: FleetPatch): void {
  const before = fleet.get();
  if (before === null) return;
  const { changed, gone, ...head } = news;
  const dataplanes = changed.length || gone.length ? new Map(before.dataplanes) : before.dataplanes;
  for (const one of changed) dataplanes.set(one.node, one);
  for (const name of gone) dataplanes.delete(name);
  skew = Date.parse(head.time) - Date.now();
  fleet.set({ head, dataplanes });
}

/** Follow the fleet until the returned function is called. */
export function start(): () => void {
  void recall();
  return follow({
    path: "/api/v1/fleet/stream?traffic=true",
    events: {
      state: (data) => take(data as FleetState),
      patch: (data) => patch(data as FleetPatch),
      traffic: (data) => takeTraffic(data as Traffic),
    },
    changed: (now) => connection.set(now),
  });
}

export type Standing = "gone" | "serving" | "rejecting" | "waiting";

export function standing(one: Dataplane, digest: string): Standing {
  if (!one.connected) return "gone";
  if (one.digest === digest) return "serving";
  const refused = one.last_rejection;
  return refused !== null && refused.revision > one.applied_revision ? "rejecting" : "waiting";
}
