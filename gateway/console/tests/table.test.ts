import { expect, test } from "vitest";

import { layout } from "../src/lib/sql";
import { csv, sorted } from "../src/lib/table";

test("numbers sort as numbers, words as people sort them, empty cells stay last", () => {
  const rows = [["b10", "9"], ["B2", "10"], [null, null], ["é", "1"]];
  const column = (at: number, descending: boolean) => sorted(rows, { column: at, descending }).map((row) => row[at]);
  expect(column(1, false)).toEqual(["1", "9", "10", null]);
  expect(column(1, true)).toEqual(["10", "9", "1", null]);
  expect(column(0, false)).toEqual(["B2", "b10", "é", null]);
});

test("CSV quotes what needs it and keeps a spreadsheet from running a cell", () => {
  const text = csv(["name", "n"], [['a "b", c', -1.5], ["=HYPERLINK(1)", null], ["-x\ny", 2]]);
  expect(text).toBe('name,n\r\n"a ""b"", c",-1.5\r\n\'=HYPERLINK(1),\r\n"\'-x\ny",2\r\n');
});

test("a long statement is broken before its clauses, and nowhere inside quotes or brackets", () => {
  const sql =
    "SELECT a.x, (SELECT MAX(y) FROM b WHERE b.i = a.i) AS m FROM a LEFT JOIN c ON c.i = a.i WHERE a.n = 'FROM x WHERE y' ORDER BY m LIMIT 5";
  expect(layout(sql).split("\n")).toEqual([
    "SELECT a.x, (SELECT MAX(y) FROM b WHERE b.i = a.i) AS m",
    "FROM a",
    "LEFT JOIN c ON c.i = a.i",
    "WHERE a.n = 'FROM x WHERE y'",
    "ORDER BY m",
    "LIMIT 5",
  ]);
  expect(layout("SELECT 1 FROM t LIMIT 2")).toBe("SELECT 1 FROM t LIMIT 2");
});

test("laying out changes nothing but spaces", () => {
  const sql = `SELECT "GROUP BY", 'it''s' FROM t WHERE x IN ('a', 'b') GROUP BY "LIMIT" HAVING COUNT(*) > 1 LIMIT 10`;
  expect(layout(sql).replace(/\s+/g, " ")).toBe(sql);
});
