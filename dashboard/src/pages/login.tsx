import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { ApiError } from "../api/client";
import { useTitle } from "../lib/hooks";
import { login } from "../state/session";

export function Login({ reason, done }: { reason: string; done?: () => void }): JSX.Element {
  useTitle("Log in");
  const [problem, setProblem] = useState(reason);
  const [busy, setBusy] = useState(false);
  const submit = (event: Event): void => {
    event.preventDefault();
    const form = new FormData(event.currentTarget as HTMLFormElement);
    setBusy(true);
    login(String(form.get("username")), String(form.get("password"))).then(
      () => done?.(),
      (error: unknown) => {
        setBusy(false);
        setProblem(error instanceof ApiError && error.status === 401 ? "Wrong name or password" : String(error));
      },
    );
  };
  return (
    <main class="login">
      <form onSubmit={submit}>
        <h1>Headgate</h1>
        <p>Log in with a user of the gateway. Looking needs gateway:read, acting gateway:admin.</p>
        <label>
          Name
          <input name="username" autoComplete="username" required autoFocus />
        </label>
        <label>
          Password
          <input name="password" type="password" autoComplete="current-password" required />
        </label>
        {problem && (
          <p class="problem" role="alert">
            {problem}
          </p>
        )}
        <button type="submit" class="primary" disabled={busy}>
          {busy ? "Logging in …" : "Log in"}
        </button>
      </form>
    </main>
  );
}
