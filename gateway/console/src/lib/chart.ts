import type { Cell } from "../api/types";

export type ChartKind = "bar" | "line" | "pie";

/** How to draw a result: which kind first, which others fit, and which columns are labels and values (indexes). */
export interface ChartPlan {
  kind: ChartKind;
  kinds: ChartKind[];
  label: number;
  values: number[];
}

const MOST_ROWS = 200;
const MOST_SLICES = 8;
const MOST_SERIES = 4;
const TIME_NAME = /(^|[^a-z])(date|day|week|month|quarter|year|hour|time|period)s?([^a-z]|$)/i;
const TIME_VALUE = /^\d{4}(-\d{2}(-\d{2}([T ]\d{2}:\d{2}.*)?)?|-?Q[1-4])?$/;
const SHARE_NAME = /share|percent|pct|ratio|portion|%/i;

/**
 * Chooses a chart for a table, or null where a chart would say less than the table.
 * Time on the label column makes a line; a few parts of a whole make a pie; everything else is a bar.
 */
export function planChart(columns: string[], rows: Cell[][]): ChartPlan | null {
  if (rows.length < 2 || rows.length > MOST_ROWS || columns.length < 2) return null;
  const label = labelColumn(columns, rows);
  if (label === null) return null;
  const values = columns
    .map((_, index) => index)
    .filter((index) => index !== label && !isIdentifier(columns[index] ?? "") && isNumeric(rows, index))
    .slice(0, MOST_SERIES);
  const first = values[0];
  if (first === undefined) return null;

  const time = isTime(columns[label] ?? "", rows, label);
  const parts = values.length === 1 && rows.length <= MOST_SLICES && rows.every((row) => (number(row[first]) ?? 0) >= 0);
  const kinds: ChartKind[] = ["bar", "line", ...(parts ? (["pie"] as const) : [])];
  const share = parts && SHARE_NAME.test(columns[first] ?? "");
  return { kind: time ? "line" : share ? "pie" : "bar", kinds, label, values };
}

function labelColumn(columns: string[], rows: Cell[][]): number | null {
  const indexes = columns.map((_, index) => index);
  const time = indexes.find((index) => isTime(columns[index] ?? "", rows, index));
  if (time !== undefined) return time;
  const words = indexes.filter((index) => !isNumeric(rows, index) && rows.some((row) => row[index] !== null));
  const named = words.find((index) => /name|title/i.test(columns[index] ?? ""));
  if (words.length) return named ?? words[0] ?? null;
  const identifier = indexes.find((index) => isIdentifier(columns[index] ?? ""));
  return identifier ?? null;
}

function isTime(name: string, rows: Cell[][], index: number): boolean {
  const filled = rows.filter((row) => row[index] !== null);
  if (filled.length < 2 || !filled.every((row) => TIME_VALUE.test(String(row[index])))) return false;
  // Four digits are a year only in a column that says so; a full date needs no name.
  return TIME_NAME.test(spaced(name)) || filled.every((row) => /^\d{4}-/.test(String(row[index])));
}

const isIdentifier = (name: string) => /(^|[^a-z])id$/i.test(spaced(name));

/** `InvoiceDate` to `Invoice Date`, so that words can be looked for. */
const spaced = (name: string) => name.replace(/([a-z0-9])([A-Z])/g, "$1 $2");

function isNumeric(rows: Cell[][], index: number): boolean {
  const filled = rows.filter((row) => row[index] !== null);
  return filled.length > 0 && filled.every((row) => number(row[index]) !== null);
}

/** A cell as a number; decimals may come as text, because JSON has no decimal type. */
export function number(cell: Cell | undefined): number | null {
  if (typeof cell === "number") return Number.isFinite(cell) ? cell : null;
  if (typeof cell === "string" && /^-?\d+(\.\d+)?([eE][+-]?\d+)?$/.test(cell)) return Number(cell);
  return null;
}
