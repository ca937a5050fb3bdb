import { expect, test } from "vitest";

import type { Cell } from "../src/api/types";
import { number, planChart } from "../src/lib/chart";

const rows = (...list: Cell[][]) => list;

test("names and one figure make bars", () => {
  const plan = planChart(["name", "total"], rows(["Ada", 10.5], ["Bo", 7]));
  expect(plan).toMatchObject({ kind: "bar", label: 0, values: [1] });
});

test("time makes a line, wherever the column stands", () => {
  expect(planChart(["year", "revenue"], rows(["2021", 1], ["2022", 2]))?.kind).toBe("line");
  expect(planChart(["total", "InvoiceDate"], rows([1, "2021-01-05 00:00:00"], [2, "2021-02-01 00:00:00"]))).toMatchObject({
    kind: "line",
    label: 1,
    values: [0],
  });
  expect(planChart(["month", "n"], rows(["2021-01", 1], ["2021-02", 2]))?.kind).toBe("line");
});

test("four digits are a year only in a column that says so", () => {
  const plan = planChart(["name", "seats"], rows(["A", 2001], ["B", 2050]));
  expect(plan).toMatchObject({ kind: "bar", label: 0, values: [1] });
});

test("shares of a whole make a pie, but not many of them and none below zero", () => {
  expect(planChart(["genre", "share"], rows(["Rock", 60], ["Jazz", 40]))?.kind).toBe("pie");
  expect(planChart(["genre", "share"], rows(["Rock", 60], ["Jazz", -4]))?.kinds).not.toContain("pie");
  const many = Array.from({ length: 12 }, (_, at): Cell[] => [`g${at}`, at]);
  expect(planChart(["genre", "share"], many)?.kind).toBe("bar");
});

test("identifiers are no values, and label only where nothing better is there", () => {
  expect(planChart(["CustomerId", "Name", "Total"], rows([1, "Ada", 5], [2, "Bo", 6]))).toMatchObject({
    label: 1,
    values: [2],
  });
  expect(planChart(["AlbumId", "tracks"], rows([1, 5], [2, 6]))).toMatchObject({ label: 0, values: [1] });
  expect(planChart(["AlbumId", "Title"], rows([1, "a"], [2, "b"]))).toBeNull();
});

test("nothing is drawn where a table says it better", () => {
  expect(planChart(["total"], rows([1], [2]))).toBeNull();
  expect(planChart(["name", "total"], rows(["Ada", 1]))).toBeNull();
  expect(planChart(["name", "city"], rows(["a", "b"], ["c", "d"]))).toBeNull();
  expect(planChart(["x", "y"], rows([1.5, 2.5], [3.5, 4.5]))).toBeNull();
  const long = Array.from({ length: 500 }, (_, at): Cell[] => [`n${at}`, at]);
  expect(planChart(["name", "n"], long)).toBeNull();
});

test("several figures are several series, empty cells are allowed", () => {
  expect(planChart(["name", "a", "b"], rows(["x", 1, null], ["y", 2, 3]))).toMatchObject({ kind: "bar", values: [1, 2] });
});

test("decimals that come as text are numbers, other text is not", () => {
  expect(["49.62", "-3", "1e3", 7].map(number)).toEqual([49.62, -3, 1000, 7]);
  expect(["", "1,000", "2021-01-01", "x", null, true].map((cell) => number(cell as Cell))).toEqual(Array(6).fill(null));
});
