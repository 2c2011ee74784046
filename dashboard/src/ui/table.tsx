// A table that draws only the rows that can be seen: ten thousand rows cost what thirty cost.
import type { ComponentChildren, JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";

export interface Column<T> {
  name: string;
  /** Shown on wide screens only. */
  wide?: boolean;
  numeric?: boolean;
  cell: (row: T) => ComponentChildren;
  /** The value to sort by; without one the column does not sort. */
  by?: (row: T) => number | string;
}

interface Props<T> {
  label: string;
  columns: Column<T>[];
  rows: T[];
  id: (row: T) => string;
  link?: (row: T) => string;
  /** Called when the last rows come into view: the next page is needed. */
  more?: () => void;
  empty: ComponentChildren;
  /** Shown while it is sorted by a column. */
  note?: string;
  tone?: (row: T) => string;
}

const ROW = 38;
const BEYOND = 8;

export function Table<T>(props: Props<T>): JSX.Element {
  const [sort, setSort] = useState<{ column: number; down: boolean } | null>(null);
  const box = useRef<HTMLDivElement>(null);
  const [view, setView] = useState({ top: 0, height: 600 });
  const rows = sorted(props.rows, sort === null ? undefined : props.columns[sort.column]?.by, sort?.down ?? false);
  const first = Math.max(0, Math.floor(view.top / ROW) - BEYOND);
  const last = Math.min(rows.length, Math.ceil((view.top + view.height) / ROW) + BEYOND);

  useEffect(() => {
    const element = box.current;
    if (element === null) return undefined;
    const measure = (): void => setView({ top: element.scrollTop, height: element.clientHeight });
    measure();
    const observer = new ResizeObserver(measure);
    observer.observe(element);
    element.addEventListener("scroll", measure, { passive: true });
    return () => {
      observer.disconnect();
      element.removeEventListener("scroll", measure);
    };
  }, []);
  useEffect(() => {
    if (props.more && last >= props.rows.length) props.more();
  }, [last, props.rows.length, props.more]);

  if (rows.length === 0) return <div class="empty">{props.empty}</div>;
  const note = sort !== null && props.note ? <p class="soft">{props.note}.</p> : null;
  return (
    <>
      {note}
      <div class="table" ref={box} tabIndex={0} role="region" aria-label={props.label}>
        <table aria-rowcount={rows.length + 1}>
          <thead>
            <tr>
              {props.columns.map((column, index) => (
                <Head
                  key={column.name}
                  column={column}
                  order={sort?.column === index ? (sort.down ? "descending" : "ascending") : "none"}
                  sort={() => setSort({ column: index, down: sort?.column === index ? !sort.down : !!column.numeric })}
                />
              ))}
            </tr>
          </thead>
          <tbody>
            {first > 0 && <Spacer rows={first} columns={props.columns.length} />}
            {rows.slice(first, last).map((row, index) => (
              <Row key={props.id(row)} row={row} index={first + index + 2} {...props} />
            ))}
            {last < rows.length && <Spacer rows={rows.length - last} columns={props.columns.length} />}
          </tbody>
        </table>
      </div>
    </>
  );
}

function Head<T>(props: {
  column: Column<T>;
  order: "ascending" | "descending" | "none";
  sort: () => void;
}): JSX.Element {
  const { column, order } = props;
  const mark = order === "none" ? "" : order === "ascending" ? " ↑" : " ↓";
  return (
    <th class={classes(column)} scope="col" aria-sort={column.by ? order : undefined}>
      {column.by ? (
        <button type="button" onClick={props.sort}>
          {column.name}
          {mark}
        </button>
      ) : (
        column.name
      )}
    </th>
  );
}

function Row<T>(props: Props<T> & { row: T; index: number }): JSX.Element {
  const link = props.link?.(props.row);
  return (
    <tr class={props.tone?.(props.row) ?? ""} aria-rowindex={props.index}>
      {props.columns.map((column, at) => (
        <td key={column.name} class={classes(column)}>
          {link && at === 0 ? <a href={link}>{column.cell(props.row)}</a> : column.cell(props.row)}
        </td>
      ))}
    </tr>
  );
}

function Spacer({ rows, columns }: { rows: number; columns: number }): JSX.Element {
  return (
    <tr aria-hidden="true" style={{ height: `${rows * ROW}px` }}>
      <td colSpan={columns} />
    </tr>
  );
}

function classes<T>(column: Column<T>): string {
  return `${column.wide ? "wide " : ""}${column.numeric ? "numeric" : ""}`;
}

function sorted<T>(rows: T[], by: ((row: T) => number | string) | undefined, down: boolean): T[] {
  if (!by) return rows;
  const sign = down ? -1 : 1;
  return [...rows].sort((one, other) => {
    const [left, right] = [by(one), by(other)];
    return left < right ? -sign : left > right ? sign : 0;
  });
}
