// Why requests were not served: now, and within the recorded time.
import type { JSX } from "preact";
import type { Reasons, TrafficHistory } from "../api/types";
import { number } from "../lib/format";
import { ranked, reasonWords } from "../lib/reasons";
import { span } from "./history";
import { Empty, Panel } from "./parts";

interface Props {
  title: string;
  now: Reasons;
  history: TrafficHistory | undefined;
}

export function ReasonsPanel({ title, now, history }: Props): JSX.Element {
  const past = history?.refusals ?? {};
  const names = [...new Set([...ranked(now), ...ranked(past)].map(([name]) => name))];
  const recorded = history ? span(history.points) : "";
  return (
    <Panel title={title}>
      {names.length === 0 ? (
        <Empty>No request was refused or failed{recorded && ` in the last ${recorded}`}.</Empty>
      ) : (
        <table class="small">
          <thead>
            <tr>
              <th scope="col">Reason</th>
              <th scope="col" class="numeric">
                A second, now
              </th>
              <th scope="col" class="numeric">
                {recorded ? `In the last ${recorded}, about` : "Before"}
              </th>
            </tr>
          </thead>
          <tbody>
            {names.slice(0, 16).map((name) => (
              <tr key={name}>
                <td title={`decision ${name}`}>{reasonWords(name)}</td>
                <td class="numeric">{number(now[name] ?? 0)}</td>
                <td class="numeric">{number(past[name] ?? 0)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </Panel>
  );
}
