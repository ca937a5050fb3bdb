import type { Cell } from "../api/types";
import { number } from "./chart";

export interface Sorting {
  column: number;
  descending: boolean;
}

const words = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });

/** Rows in order of one column; numbers as numbers, words as people sort them, empty cells last either way. */
export function sorted(rows: Cell[][], sorting: Sorting | null): Cell[][] {
  if (!sorting) return rows;
  const { column, descending } = sorting;
  return [...rows].sort((one, other) => {
    const [a, b] = [one[column] ?? null, other[column] ?? null];
    if (a === null || b === null) return Number(a === null) - Number(b === null);
    const order = compare(a, b);
    return descending ? -order : order;
  });
}

function compare(a: Cell, b: Cell): number {
  const [x, y] = [number(a), number(b)];
  return x !== null && y !== null ? x - y : words.compare(String(a), String(b));
}

/** RFC 4180, with the first sign of a formula quoted, since a spreadsheet would run `=...` in a downloaded cell. */
export function csv(columns: string[], rows: Cell[][]): string {
  const line = (cells: Cell[]) => cells.map(field).join(",");
  return [line(columns), ...rows.map(line)].join("\r\n") + "\r\n";
}

function field(cell: Cell): string {
  if (cell === null) return "";
  let text = String(cell);
  if (number(cell) === null && /^[=+\-@\t\r]/.test(text)) text = `'${text}`;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** Hands a file to the reader. The mark at the front tells spreadsheets that it is UTF-8. */
export function download(name: string, text: string, type = "text/csv"): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob(["\uFEFF", text], { type: `${type};charset=utf-8` }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
