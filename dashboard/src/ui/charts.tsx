// Small drawings.
import type { JSX } from "preact";

/** A line of values, the newest at the right. */
export function Spark({ values, label }: { values: number[]; label: string }): JSX.Element | null {
  if (values.length < 2) return null;
  const most = Math.max(...values, 1e-9);
  const step = 100 / (values.length - 1);
  const points = values.map((value, at) => `${(at * step).toFixed(2)},${(27 - (25 * value) / most).toFixed(2)}`);
  return (
    <svg class="spark" viewBox="0 0 100 28" preserveAspectRatio="none" role="img" aria-label={label}>
      <polygon points={`0,28 ${points.join(" ")} 100,28`} />
      <polyline points={points.join(" ")} />
    </svg>
  );
}

export interface Part {
  tone: string;
  count: number;
  label: string;
}

/** Shares of a whole, as one bar. */
export function Bar({ parts, label }: { parts: Part[]; label: string }): JSX.Element {
  const total = parts.reduce((sum, part) => sum + part.count, 0) || 1;
  const words = parts.filter((part) => part.count).map((part) => `${part.count} ${part.label}`);
  return (
    <div class="bar" role="img" aria-label={`${label}: ${words.join(", ") || "none"}`}>
      {parts.map((part) =>
        part.count ? <span key={part.label} class={part.tone} style={{ flexGrow: part.count / total }} /> : null,
      )}
    </div>
  );
}

/** One square for each data plane: a fleet at a glance. */
export function Squares<T>(props: {
  items: T[];
  id: (item: T) => string;
  tone: (item: T) => string;
  title: (item: T) => string;
  link: (item: T) => string;
  label: string;
}): JSX.Element {
  return (
    <ul class="squares" aria-label={props.label}>
      {props.items.map((item) => (
        <li key={props.id(item)}>
          <a class={props.tone(item)} href={props.link(item)} title={props.title(item)} aria-label={props.title(item)} />
        </li>
      ))}
    </ul>
  );
}
