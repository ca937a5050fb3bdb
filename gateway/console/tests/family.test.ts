import { expect, test } from "vitest";
import type { Version } from "../src/api/models";
import { familyOf } from "../src/lib/family";

const version = (digest: string, created_at: string, parent: string | null = null): Version => ({
  digest,
  created_at,
  parent,
  name: "n",
  version: digest,
  kind: "adapter",
  aliases: [],
  base: null,
  pairs: 0,
  bytes: 0,
});

test("a first heir stays in its parent's row, a second one opens a row, a stranger too", () => {
  const family = familyOf([version("c", "3", "a"), version("a", "1"), version("b", "2", "a"), version("d", "4"), version("e", "5", "b")]);
  expect(family.nodes.map(({ version: { digest }, column, lane }) => [digest, column, lane])).toEqual([
    ["a", 0, 0],
    ["b", 1, 0],
    ["c", 2, 1],
    ["d", 3, 2],
    ["e", 4, 0],
  ]);
  expect(family.edges.map(([from, to]) => from.version.digest + to.version.digest)).toEqual(["ab", "ac", "be"]);
  expect(family.lanes).toBe(3);
});

test("a parent that is not there leaves a version at a beginning", () => {
  expect(familyOf([version("a", "1", "gone")]).edges).toEqual([]);
});

test("a parent of the same second stands before its heir, and a circle ends", () => {
  expect(familyOf([version("b", "1", "a"), version("a", "1")]).edges.length).toBe(1);
  expect(familyOf([version("a", "1", "b"), version("b", "1", "a")]).nodes.length).toBe(2);
});
