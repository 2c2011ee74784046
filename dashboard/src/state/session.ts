// The session: who looks, with which rights. Renewed before it ends; one tab at a time, because a token is good for one use.
import { ApiError, get, onUnauthorized, send } from "../api/client";
import type { Session } from "../api/types";
import { Store } from "../lib/store";

export type SessionState =
  | { state: "loading" }
  | { state: "unreachable"; reason: string }
  /** `ended`: why a new login is needed; the page stays. `problem`: why the session cannot be renewed at the moment. */
  | { state: "in"; session: Session; ended?: string; problem?: string }
  | { state: "out"; reason: string };

type Renewal = "renewed" | "ended" | "unknown";

export const session = new Store<SessionState>({ state: "loading" });
const AGAIN = 5000;
let timer = 0;
let lifetime = 900;
let renewing: Promise<Renewal> | null = null;

function later(work: () => unknown, milliseconds: number): void {
  window.clearTimeout(timer);
  timer = window.setTimeout(() => void work(), milliseconds);
}

function take(found: Session): void {
  window.clearTimeout(timer);
  if (!found.read) {
    session.set({ state: "out", reason: "" });
    return;
  }
  session.set({ state: "in", session: found });
  if (found.username) later(keep, Math.max(5, found.seconds * 0.7) * 1000);
}

export async function load(): Promise<void> {
  try {
    const found = await get<Session>("/session");
    if (found.username === null && found.renewable) {
      const renewal = await renew();
      if (renewal === "renewed") return;
      if (renewal === "unknown") throw new ApiError(0, "The session cannot be renewed");
    }
    take(found);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    session.set({ state: "unreachable", reason: error.message });
    later(load, 3000);
  }
}

/** Renew the session; if the control plane cannot do so now, the page stays and it is tried again. */
async function keep(): Promise<void> {
  const renewal = await renew();
  const now = session.get();
  if (renewal === "unknown") later(keep, AGAIN);
  if (renewal === "ended" && now.state === "in") session.set({ ...now, ended: "The session has ended" });
}

function renew(): Promise<Renewal> {
  renewing ??= renewOnce().finally(() => {
    renewing = null;
  });
  return renewing;
}

async function renewOnce(): Promise<Renewal> {
  try {
    return await navigator.locks.request("headgate-session", async (): Promise<Renewal> => {
      // Another tab may have renewed it in the meantime.
      const found = await get<Session>("/session");
      if (found.username !== null && found.seconds > 0.5 * lifetime) {
        take(found);
        return "renewed";
      }
      const made = await send<Session>("POST", "/session/renew");
      lifetime = made.seconds;
      take(made);
      return "renewed";
    });
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    if (error.status === 401 || error.status === 403) return "ended";
    const now = session.get();
    if (now.state === "in" && error.status) session.set({ ...now, problem: error.message });
    return "unknown";
  }
}

export async function login(username: string, password: string): Promise<void> {
  const made = await send<Session>("POST", "/session", { username, password });
  lifetime = made.seconds;
  take(made);
}

export async function logout(): Promise<void> {
  await send<void>("DELETE", "/session");
  window.clearTimeout(timer);
  await load();
}

export function start(): void {
  onUnauthorized(() => void keep());
  void load();
}

export function mayWrite(): boolean {
  const now = session.get();
  return now.state === "in" && now.session.write;
}
