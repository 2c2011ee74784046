import type { JSX } from "preact";
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { ApiError, get } from "../api/client";
import type { ChangeRecord } from "../api/types";
import { useNow, useTitle } from "../lib/hooks";
import { href } from "../lib/route";
import { useStore } from "../lib/store";
import { summary } from "../lib/words";
import { fleet, skew } from "../state/fleet";
import { mayWrite } from "../state/session";
import { Failure, Loading, Panel, Same, Time } from "../ui/parts";
import { Table, type Column } from "../ui/table";

const PAGE = 100;

export function ChangesPage(): JSX.Element {
  useTitle("Changes");
  const now = useNow() + skew;
  const revision = useStore(fleet)?.head.revision;
  const { records, error, more } = useHistory(revision);
  const [filter, setFilter] = useState("");
  const shown = records?.filter((one) => fits(one, filter));
  const columns: Column<ChangeRecord>[] = [
    { name: "Revision", cell: (one) => one.revision },
    { name: "When", cell: (one) => <Time at={one.time} now={now} /> },
    { name: "Author", cell: (one) => one.author },
    { name: "Change", cell: (one) => one.summary },
    { name: "Resources", wide: true, cell: (one) => summary(one.changes) },
  ];
  return (
    <>
      <div class="heading">
        <h1>Changes</h1>
        {mayWrite() && (
          <div class="actions">
            <a class="button primary" href={href("changes", "new")}>
              Make a change
            </a>
          </div>
        )}
      </div>
      {error && <Failure error={error} />}
      <Panel
        title="History"
        aside={
          <input
            type="search"
            placeholder="Author or resource"
            aria-label="Filter changes"
            value={filter}
            onInput={(event) => setFilter(event.currentTarget.value)}
          />
        }
      >
        {shown === undefined ? (
          <Loading />
        ) : (
          <Table
            label="Changes"
            columns={columns}
            rows={shown}
            id={(one) => String(one.revision)}
            link={(one) => href("changes", String(one.revision))}
            more={more}
            empty={filter ? "No change that is loaded fits the filter" : "Nothing has been changed yet"}
          />
        )}
      </Panel>
      <Same command="headgate history" />
    </>
  );
}

function fits(one: ChangeRecord, filter: string): boolean {
  return (
    !filter ||
    one.author.includes(filter) ||
    one.summary.includes(filter) ||
    one.changes.some((changed) => `${changed.kind}/${changed.name}`.includes(filter))
  );
}

interface History {
  records: ChangeRecord[] | undefined;
  error: ApiError | undefined;
  more: () => void;
}

/** The records, page by page; new ones come in front when the revision moves. */
function useHistory(revision: number | undefined): History {
  const [records, setRecords] = useState<ChangeRecord[]>();
  const [error, setError] = useState<ApiError>();
  const asking = useRef(false);
  const ended = useRef(false);
  const add = (found: ChangeRecord[]): void =>
    setRecords((before = []) => {
      const known = new Map([...before, ...found].map((one) => [one.revision, one]));
      return [...known.values()].sort((one, other) => other.revision - one.revision);
    });
  const fail = (problem: unknown): void => setError(problem instanceof ApiError ? problem : undefined);
  useEffect(() => {
    get<ChangeRecord[]>(`/api/v1/history?limit=${PAGE}`).then(add, fail);
  }, [revision]);
  const oldest = records?.at(-1)?.revision;
  const more = useCallback(() => {
    if (asking.current || ended.current || oldest === undefined) return;
    asking.current = true;
    get<ChangeRecord[]>(`/api/v1/history?limit=${PAGE}&before=${oldest}`)
      .then((found) => {
        ended.current = found.length === 0;
        if (found.length) add(found);
      }, fail)
      .finally(() => {
        asking.current = false;
      });
  }, [oldest]);
  return { records, error, more };
}
