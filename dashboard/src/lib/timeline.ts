import { useEffect, useState } from "preact/hooks";
import { follow } from "../api/stream";
import type { LiveEvent } from "../api/types";

const MOST = 200;

/** The events of these types that fit, the newest first: those that the control plane remembers, and then new ones. */
export function useEvents(types: string[], fits: (event: LiveEvent) => boolean, key: string): LiveEvent[] {
  const [found, setFound] = useState<LiveEvent[]>([]);
  useEffect(() => {
    setFound([]);
    const take = (data: unknown): void => {
      const event = data as LiveEvent;
      if (fits(event)) setFound((before) => [event, ...before].slice(0, MOST));
    };
    const query = [...types.map((type) => `type=${type}`), "last=1000"].join("&");
    return follow({
      path: `/api/v1/events?${query}`,
      events: Object.fromEntries(types.map((type) => [type, take])),
      changed: () => undefined,
      // A new connection tells the last events again.
      opened: () => setFound([]),
    });
  }, [key]);
  return found;
}
