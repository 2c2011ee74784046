// Requests to the admin API. The browser sends the session's cookie; nothing here ever sees a token.

const MARK = { "X-Headgate-Dashboard": "1" };

export interface FieldProblem {
  field: string;
  detail: string;
}

/** A refusal (RFC 9457), or a control plane that does not answer (status 0). */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    detail: string,
    readonly errors: FieldProblem[] = [],
    readonly body: Record<string, unknown> = {},
  ) {
    super(detail);
  }
}

type Listener = () => void;
const refused = new Set<Listener>();

/** Call the listener when a request is refused because there is no session any more. */
export function onUnauthorized(listener: Listener): () => void {
  refused.add(listener);
  return () => refused.delete(listener);
}

async function failure(response: Response): Promise<ApiError> {
  let body: Record<string, unknown> = {};
  try {
    body = (await response.json()) as Record<string, unknown>;
  } catch {
    // A proxy answered with something else.
  }
  const detail = typeof body["detail"] === "string" ? body["detail"] : `HTTP ${response.status}`;
  const errors = Array.isArray(body["errors"]) ? (body["errors"] as FieldProblem[]) : [];
  return new ApiError(response.status, detail, errors, body);
}

async function request(path: string, init: RequestInit): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(path, { credentials: "same-origin", ...init });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new ApiError(0, "The control plane does not answer");
  }
  if (response.ok) return response;
  if (response.status === 401 && !path.startsWith("/session")) refused.forEach((listener) => listener());
  throw await failure(response);
}

async function content<T>(response: Response): Promise<T> {
  return (response.status === 204 ? undefined : await response.json()) as T;
}

export async function get<T>(path: string, signal?: AbortSignal): Promise<T> {
  return content<T>(await request(path, { ...(signal ? { signal } : {}) }));
}

/** Why a GET is refused; null if it is answered. The answer itself is not read. */
export async function problemOf(path: string): Promise<ApiError | null> {
  const control = new AbortController();
  try {
    await request(path, { signal: control.signal });
    return null;
  } catch (error) {
    return error instanceof ApiError ? error : null;
  } finally {
    control.abort();
  }
}

/** A page of a list, and the path of the next one. */
export async function page<T>(path: string, signal?: AbortSignal): Promise<{ items: T[]; next: string | null }> {
  const response = await request(path, { ...(signal ? { signal } : {}) });
  const link = /<([^>]+)>;\s*rel="next"/.exec(response.headers.get("Link") ?? "");
  return { items: (await response.json()) as T[], next: link?.[1] ?? null };
}

export async function send<T>(method: string, path: string, body?: unknown, type = "application/json"): Promise<T> {
  const text = typeof body === "string" ? body : JSON.stringify(body);
  const headers = body === undefined ? MARK : { ...MARK, "Content-Type": type };
  return content<T>(await request(path, { method, headers, ...(body === undefined ? {} : { body: text }) }));
}
