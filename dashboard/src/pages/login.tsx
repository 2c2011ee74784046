import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { ApiError } from "../api/client";
import { useTitle } from "../lib/hooks";
import { login } from "../state/session";

/** The page of somebody who is not logged in. */
export function Login({ reason }: { reason: string }): JSX.Element {
  useTitle("Log in");
  return (
    <main class="login">
      <LoginForm reason={reason} />
    </main>
  );
}

/** A login above a page that stays as it is: what was typed there is not lost. */
export function LoginDialog({ reason, cancel }: { reason: string; cancel?: () => void }): JSX.Element {
  const box = useRef<HTMLDialogElement>(null);
  useEffect(() => box.current?.showModal(), []);
  const close = (event: Event): void => {
    event.preventDefault();
    cancel?.();
  };
  return (
    <dialog class="login" ref={box} aria-label="Log in" onCancel={close}>
      <LoginForm reason={reason} {...(cancel ? { cancel } : {})} />
    </dialog>
  );
}

function LoginForm({ reason, cancel }: { reason: string; cancel?: () => void }): JSX.Element {
  const [problem, setProblem] = useState(reason);
  const [busy, setBusy] = useState(false);
  const submit = (event: Event): void => {
    event.preventDefault();
    const form = new FormData(event.currentTarget as HTMLFormElement);
    setBusy(true);
    login(String(form.get("username")), String(form.get("password")))
      .then(cancel, (error: unknown) => setProblem(words(error)))
      .finally(() => setBusy(false));
  };
  return (
    <form onSubmit={submit}>
      <h1>Headgate</h1>
      <p>Log in with a user of the gateway. Looking needs gateway:read, acting gateway:admin.</p>
      <label>
        Name
        <input name="username" autoComplete="username" autoCapitalize="none" required autoFocus />
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
      {cancel && (
        <button type="button" onClick={cancel}>
          Cancel
        </button>
      )}
    </form>
  );
}

function words(error: unknown): string {
  if (!(error instanceof ApiError)) return "The login failed";
  return error.status === 401 ? "Wrong name or password" : error.message;
}
