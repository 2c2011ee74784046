// Dark or light: as the system says, until the reader chooses.
import { Store } from "../lib/store";

type Theme = "dark" | "light";
const KEY = "headgate-theme";

function preferred(): Theme {
  const kept = window.localStorage.getItem(KEY);
  if (kept === "dark" || kept === "light") return kept;
  return window.matchMedia("(prefers-color-scheme: light)").matches ? "light" : "dark";
}

export const theme = new Store<Theme>(preferred());

function show(value: Theme): void {
  document.documentElement.dataset["theme"] = value;
}

export function start(): void {
  show(theme.get());
  theme.follow(show);
  window.matchMedia("(prefers-color-scheme: light)").addEventListener("change", () => theme.set(preferred()));
}

export function toggleTheme(): void {
  const next = theme.get() === "dark" ? "light" : "dark";
  window.localStorage.setItem(KEY, next);
  theme.set(next);
}
