import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { ApiError, page } from "../api/client";

export interface Listed<T> {
  items: T[] | undefined;
  error: ApiError | undefined;
  /** Load the next page, if there is one. */
  more: () => void;
}

const PAGE = 200;
const PAUSE = 200;

/** A list of the API, page by page as far as it is scrolled; the server filters by name. */
export function useList<T>(path: string, contains: string, deps: unknown[] = []): Listed<T> {
  const [items, setItems] = useState<T[]>();
  const [error, setError] = useState<ApiError>();
  const next = useRef<string | null>(null);
  const asking = useRef(false);

  const load = useCallback((from: string, first: boolean, signal: AbortSignal | undefined) => {
    asking.current = true;
    page<T>(from, signal)
      .then(
        (found) => {
          next.current = found.next;
          setError(undefined);
          setItems((before) => (first ? found.items : [...(before ?? []), ...found.items]));
        },
        (problem: unknown) => {
          if (problem instanceof ApiError) setError(problem);
        },
      )
      .finally(() => {
        asking.current = false;
      });
  }, []);

  useEffect(() => {
    const control = new AbortController();
    const query = new URLSearchParams({ limit: String(PAGE), ...(contains ? { contains } : {}) });
    const timer = window.setTimeout(() => load(`${path}?${query}`, true, control.signal), contains ? PAUSE : 0);
    return () => {
      window.clearTimeout(timer);
      control.abort();
    };
  }, [path, contains, ...deps]);

  const more = useCallback(() => {
    if (asking.current || next.current === null) return;
    load(next.current, false, undefined);
  }, [load]);
  return { items, error, more };
}
