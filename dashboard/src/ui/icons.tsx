// Icons, drawn on a grid of 16. They only repeat what the text beside them says.
import type { JSX } from "preact";

const PATHS = {
  ok: "M3 8.5 6.5 12 13 4.5",
  warning: "M8 2 15 14H1zM8 6.5v3.5M8 12v.5",
  critical: "M5 1.5h6L14.5 5v6L11 14.5H5L1.5 11V5zM8 4.5v4M8 11v.5",
  info: "M8 1.5a6.5 6.5 0 1 0 0 13 6.5 6.5 0 0 0 0-13M8 7v4.5M8 4.5V5",
  fleet: "M2 3h12v4H2zM2 9h12v4H2zM4.5 5h.5M4.5 11h.5",
  traffic: "M1.5 8h3l2-5 3 10 2-5h3",
  services: "M8 1.5 14 5v6l-6 3.5L2 11V5zM2 5l6 3.5L14 5M8 8.5v6",
  routes: "M3 3.5h4v9h6M7 8h6M11 6l2 2-2 2",
  limits: "M2 12a6 6 0 1 1 12 0M8 12l3-4.5",
  changes: "M8 1.5a6.5 6.5 0 1 1-6 4M2 1.5v4h4M8 4.5V8l2.5 1.5",
  explain: "M7 2a5 5 0 1 1 0 10A5 5 0 0 1 7 2M10.7 10.7 14.5 14.5",
  sun: "M8 5a3 3 0 1 0 0 6 3 3 0 0 0 0-6M8 1v1.5M8 13.5V15M1 8h1.5M13.5 8H15M3 3l1 1M12 12l1 1M3 13l1-1M12 4l1-1",
  moon: "M13.5 9.5A6 6 0 0 1 6.5 2.5a6 6 0 1 0 7 7z",
  copy: "M5.5 5.5h8v8h-8zM3 10.5h-.5v-8h8V3",
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name }: { name: IconName }): JSX.Element {
  return (
    <svg class={`icon icon-${name}`} viewBox="0 0 16 16" aria-hidden="true">
      <path d={PATHS[name]} />
    </svg>
  );
}
