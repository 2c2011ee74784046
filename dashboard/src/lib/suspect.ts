import type { ChangeRecord, Trouble } from "../api/types";

/** The change that the trouble is about, or the last change to its resource before it began. */
export function suspect(trouble: Trouble, history: ChangeRecord[]): ChangeRecord | undefined {
  if (trouble.revision !== null) {
    const revision = trouble.revision;
    return history.find((one) => one.revision <= revision);
  }
  if (!trouble.resource) return undefined;
  const [kind = "", ...rest] = trouble.resource.split("/");
  const name = rest.join("/");
  return history.find(
    (one) =>
      one.changes.some((changed) => changed.kind === kind && changed.name === name) &&
      (trouble.since === null || Date.parse(one.time) <= Date.parse(trouble.since) + 2000),
  );
}
