import { describe, expect, test } from "vitest";
import type { Span } from "../src/api/traces";
import { money } from "../src/lib/format";
import { doubt, named, others, percent } from "../src/lib/logprobs";
import { talkOf } from "../src/lib/messages";
import { essential, opened, ticks } from "../src/lib/waterfall";

const span = (id: string, depth: number, kind = "CHAIN", level = "DEFAULT"): Span => ({
  id,
  depth,
  kind,
  level,
  parent: null,
  name: id,
  started_at: "",
  offset_ms: 0,
  ms: 1,
  first_ms: null,
  status: null,
  model: null,
  adapter: null,
  tokens: null,
  cost: null,
});

describe("what a call cost", () => {
  test.each([
    [0, "$0"],
    [0.000042, "$0.000042"],
    [0.0012345, "$0.0012"],
    [0.5, "$0.500"],
    [12.345, "$12.35"],
  ])("%d is %s", (dollars, told) => expect(money(dollars)).toBe(told));
});

describe("the probability of a token", () => {
  test.each([
    [0, "100 %", 0],
    [-0.00001, ">99.9 %", 0],
    [Math.log(0.5), "50 %", 2],
    [Math.log(0.031), "3.1 %", 4],
    [-20, "<0.1 %", 4],
  ])("of %d is %s", (logprob, told, tint) => {
    expect(percent(logprob)).toBe(told);
    expect(doubt(logprob)).toBe(tint);
  });

  test("is told beside what else could have stood there", () => {
    const one = { token: " yes", logprob: -1, top_logprobs: [{ token: " yes", logprob: -1 }, { token: " no", logprob: -1.2 }] };
    expect(others(one).map((other) => named(other.token))).toEqual(["␣no"]);
  });
});

describe("the tree of a trace", () => {
  const tree = [span("root", 0), span("step", 1), span("model", 2, "GENERATION"), span("tool", 1, "TOOL"), span("broken", 1, "CHAIN", "ERROR")];

  test("keeps models, tools and what failed, and moves them up", () => {
    expect(essential(tree).map(({ id, depth }) => [id, depth])).toEqual([
      ["root", 0],
      ["model", 1],
      ["tool", 1],
      ["broken", 1],
    ]);
  });

  test("hides what is inside a closed step, and nothing else", () => {
    expect(opened(tree, new Set(["step"])).map(({ id }) => id)).toEqual(["root", "step", "tool", "broken"]);
    expect(opened(tree, new Set(["root"])).map(({ id }) => id)).toEqual(["root"]);
  });

  test.each([1, 33, 584, 61_000])("has few round marks for %d ms", (length) => {
    const marks = ticks(length);
    expect(marks[0]).toBe(0);
    expect(marks.length).toBeGreaterThan(1);
    expect(marks.length).toBeLessThan(6);
    expect(Math.max(...marks)).toBeLessThanOrEqual(length);
  });
});

describe("messages", () => {
  test("are read in OpenAI's shape, and the tools that were offered are told apart", () => {
    const offered = { role: "tool", content: { type: "function", function: { name: "rag_search" } } };
    const call = { id: "1", function: { name: "sql_query", arguments: '{"sql": "SELECT 1"}' } };
    const talk = talkOf([{ role: "user", content: "Hi" }, { role: "assistant", content: null, tool_calls: [call] }, offered]);
    expect(talk?.offered).toEqual(["rag_search"]);
    const beside = talkOf({ messages: [{ role: "user", content: "Hi" }], tools: [offered.content] });
    expect(beside?.offered).toEqual(["rag_search"]);
    expect(talk?.messages.map(({ role }) => role)).toEqual(["user", "assistant"]);
    expect(talk?.messages[1]?.calls).toEqual([{ name: "sql_query", arguments: { sql: "SELECT 1" } }]);
  });

  test("are read in LangChain's shape", () => {
    const content = [{ type: "text", text: "one" }, { type: "text", text: "two" }];
    const artifact = { structured_content: { hits: [] } };
    const talk = talkOf({ messages: [{ type: "human", content: "Hi" }, { type: "tool", content, artifact, name: "t" }] });
    expect(talk?.messages[0]?.role).toBe("user");
    expect(talk?.messages[1]).toMatchObject({ role: "tool", text: "one\ntwo", name: "t", data: { hits: [] } });
  });

  test.each([null, 1, "text", [], {}, [1], { messages: "no" }, [{ content: "no role" }]])("are not seen in %j", (value) => {
    expect(talkOf(value)).toBeNull();
  });

  test("with a call that is no JSON are shown as they came", () => {
    const talk = talkOf({ role: "assistant", tool_calls: [{ function: { name: "x", arguments: "{broken" } }] });
    expect(talk?.messages[0]?.calls[0]?.arguments).toEqual({ arguments: "{broken" });
  });
});
