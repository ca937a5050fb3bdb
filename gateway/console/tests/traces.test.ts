import { describe, expect, test } from "vitest";
import type { Span } from "../src/api/traces";
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
