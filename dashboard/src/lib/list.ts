import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { ApiError, page } from "../api/client";

export interface Listed<T> {
  items: T[] | undefined;
  error: ApiError | undefined;
  /** Whether there is no further page. */
  whole: boolean;
  /** Load the next page, if there is one. */
  more: () => void;
}

const PAGE = 200;
const MOST = 1000;
/** Milliseconds in which more letters, or more changes of the configuration, may follow. */
const TYPING = 200;
const CHANGING = 1000;

/** The query for what was typed: a part of a name, or a label with its value. */
export function filterQuery(typed: string): Record<string, string> {
  const text = typed.trim();
  if (!text) return {};
  return text.includes("=") ? { label: text } : { contains: text };
}

/** A list of the API, page by page as far as it is scrolled; the server filters. When `version` changes, what is shown
 * is loaded again: the list does not become shorter below the reader. */
export function useList<T>(path: string, typed: string, version: unknown): Listed<T> {
  const [items, setItems] = useState<T[]>();
  const [error, setError] = useState<ApiError>();
  const [next, setNext] = useState<string | null>(null);
  const asking = useRef(false);
  const shown = useRef<{ query: string; count: number }>({ query: "", count: 0 });
  const fail = (problem: unknown): void => {
    if (problem instanceof ApiError) setError(problem);
  };

  useEffect(() => {
    const control = new AbortController();
    const query = String(new URLSearchParams(filterQuery(typed)));
    const again = shown.current.query === query && shown.current.count > 0;
    const count = again ? shown.current.count : PAGE;
    const load = (): void => {
      pages<T>(`${path}?${query}`, count, control.signal).then((found) => {
        shown.current = { query, count: found.items.length };
        setError(undefined);
        setItems(found.items);
        setNext(found.next);
      }, fail);
    };
    const timer = window.setTimeout(load, again ? CHANGING : typed ? TYPING : 0);
    return () => {
      window.clearTimeout(timer);
      control.abort();
    };
  }, [path, typed, version]);

  const more = useCallback(() => {
    if (asking.current || next === null) return;
    asking.current = true;
    const { query } = shown.current;
    page<T>(next)
      .then((found) => {
        // Another filter may have been typed meanwhile.
        if (shown.current.query !== query) return;
        setNext(found.next);
        setItems((before) => [...(before ?? []), ...found.items]);
        shown.current.count += found.items.length;
      }, fail)
      .finally(() => {
        asking.current = false;
      });
  }, [next]);
  return { items, error, whole: next === null, more };
}

/** So many items, or all. */
async function pages<T>(path: string, count: number, signal: AbortSignal): Promise<{ items: T[]; next: string | null }> {
  const items: T[] = [];
  let next: string | null = `${path}&limit=${Math.min(MOST, Math.max(PAGE, count))}`;
  while (next !== null && (items.length === 0 || items.length < count)) {
    const found: { items: T[]; next: string | null } = await page<T>(next, signal);
    items.push(...found.items);
    next = found.next;
    if (found.items.length === 0) break;
  }
  return { items, next };
}
