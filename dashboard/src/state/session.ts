// The session: who looks, with which rights. Renewed before it ends; one tab at a time, because a token is good for one use.
import { ApiError, get, onUnauthorized, send } from "../api/client";
import type { Session } from "../api/types";
import { Store } from "../lib/store";

export type SessionState =
  | { state: "loading" }
  | { state: "unreachable"; reason: string }
  | { state: "in"; session: Session }
  | { state: "out"; reason: string };

export const session = new Store<SessionState>({ state: "loading" });
let timer = 0;
let lifetime = 900;

function take(found: Session): void {
  window.clearTimeout(timer);
  if (!found.read) {
    session.set({ state: "out", reason: "" });
    return;
  }
  session.set({ state: "in", session: found });
  if (found.username) timer = window.setTimeout(() => void renew(), Math.max(5, found.seconds * 0.7) * 1000);
}

export async function load(): Promise<void> {
  try {
    const found = await get<Session>("/session");
    if (found.username === null && found.renewable && (await renew())) return;
    take(found);
  } catch (error) {
    if (error instanceof ApiError) {
      session.set({ state: "unreachable", reason: error.message });
      window.clearTimeout(timer);
      timer = window.setTimeout(() => void load(), 3000);
    }
  }
}

async function renew(): Promise<boolean> {
  try {
    return await navigator.locks.request("headgate-session", async () => {
      // Another tab may have renewed it in the meantime.
      const found = await get<Session>("/session");
      if (found.username !== null && found.seconds > 0.5 * lifetime) {
        take(found);
        return true;
      }
      const made = await send<Session>("POST", "/session/renew");
      lifetime = made.seconds;
      take(made);
      return true;
    });
  } catch (error) {
    if (error instanceof ApiError && error.status === 0) timer = window.setTimeout(() => void renew(), 5000);
    return false;
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
  onUnauthorized(() => {
    void renew().then((renewed) => {
      if (!renewed) session.set({ state: "out", reason: "The session has ended" });
    });
  });
  void load();
}

export function mayWrite(): boolean {
  const now = session.get();
  return now.state === "in" && now.session.write;
}
