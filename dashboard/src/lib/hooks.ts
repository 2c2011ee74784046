import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { ApiError, get } from "../api/client";

/** The time, every second or so: relative times follow it. */
export function useNow(step = 1000): number {
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    const timer = window.setInterval(() => setNow(Date.now()), step);
    return () => window.clearInterval(timer);
  }, [step]);
  return now;
}

export interface Loaded<T> {
  data: T | undefined;
  error: ApiError | undefined;
  reload: () => void;
}

/** What a path gives: at first, when `deps` change, and every `every` milliseconds while the page is visible. */
export function useLoad<T>(path: string | null, every = 0, deps: unknown[] = []): Loaded<T> {
  const [data, setData] = useState<T>();
  const [error, setError] = useState<ApiError>();
  const [turn, setTurn] = useState(0);
  const shown = useRef(path);
  useEffect(() => {
    if (shown.current !== path) {
      shown.current = path;
      setData(undefined);
    }
    if (path === null) return undefined;
    const control = new AbortController();
    const load = (): void => {
      if (document.hidden) return;
      get<T>(path, control.signal).then(
        (found) => {
          setData(() => found);
          setError(undefined);
        },
        (problem: unknown) => {
          if (problem instanceof ApiError) setError(problem);
        },
      );
    };
    load();
    const timer = every ? window.setInterval(load, every) : 0;
    document.addEventListener("visibilitychange", load);
    return () => {
      control.abort();
      window.clearInterval(timer);
      document.removeEventListener("visibilitychange", load);
    };
  }, [path, every, turn, ...deps]);
  const reload = useCallback(() => setTurn((before) => before + 1), []);
  return { data, error, reload };
}

/** Put the name of the page into the title of the window. */
export function useTitle(title: string): void {
  useEffect(() => {
    document.title = title ? `${title} · Headgate` : "Headgate";
  }, [title]);
}
