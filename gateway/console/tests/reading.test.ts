import { expect, test } from "vitest";

import { readHealth } from "../src/api/health";
import { errorFrom, Unauthorised } from "../src/api/errors";
import { pieces } from "../src/lib/quote";
import { Sentences } from "../src/lib/sentences";

test("a screen reader gets whole sentences, and the rest at the end", () => {
  const sentences = new Sentences();
  const said = ["The docu", "ments say: \"Four", " hours.\" [1] And ", "3.5 days. ", "Mor"].map((piece) => sentences.push(piece));
  expect(said).toEqual(["", "", 'The documents say: "Four hours.', '" [1] And 3.5 days.', ""]);
  expect(sentences.flush()).toBe("Mor");
});

test("text without an end is given out at a space before it grows too long", () => {
  const sentences = new Sentences();
  const spoken = sentences.push("การลาป่วย ".repeat(40));
  expect(spoken.length).toBeGreaterThan(100);
  expect((spoken + " " + sentences.flush()).trim()).toBe("การลาป่วย ".repeat(40).trim());
});

const passage = (before: string, text: string, after: string) => ({ name: "a.md", page: 1, section: null, before, text, after });
const shown = (...found: Parameters<typeof pieces>) => pieces(...found).map(({ kind, text }) => `${kind}: ${text}`);

test("a quote is found over line breaks, with the stop that the passage left out", () => {
  const page = passage("Before. ", "Employees accrue\n4 hours of (sick) leave", ". After.");
  expect(shown(page, "employees accrue 4 hours of (sick) leave.", true)).toEqual([
    "around: Before. ",
    "quote: Employees accrue\n4 hours of (sick) leave.",
    "around:  After.",
  ]);
});

test("of two places that say the same, the cited one is marked", () => {
  expect(shown(passage("Yes. No. ", "Yes.", " No."), "Yes.", true)).toEqual(["around: Yes. No. ", "quote: Yes.", "around:  No."]);
});

test("without its quote, a passage is marked as what was found", () => {
  const page = passage("a ", "Employees *accrue* hours.", "");
  expect(shown(page, "not there", false)[1]).toBe("passage: Employees *accrue* hours.");
  expect(shown(page, null, false)[1]).toBe("passage: Employees *accrue* hours.");
  expect(shown(page, "Employees accrue hours.", true)[1]).toBe("quote: Employees *accrue* hours.");
});

test("health is read whether dependencies come by name or as a list", () => {
  const one = { name: "tools", status: "failed", detail: "not ready", ms: 4.5 };
  expect(readHealth({ status: "degraded", dependencies: { tools: { ...one, name: undefined } } }, false)).toEqual({
    status: "degraded",
    dependencies: [one],
  });
  expect(readHealth({ dependencies: [one] }, true).dependencies).toEqual([one]);
  expect(readHealth("<html>", false)).toEqual({ status: "unavailable", dependencies: [] });
});

test("an error says what the gateway said, and a page of a proxy does not reach the reader", () => {
  const said = errorFrom(409, '{"error": {"message": "There is one of this name.", "type": "conflict", "code": "conflict"}}');
  expect([said.message, said.code, said.status]).toEqual(["There is one of this name.", "conflict", 409]);
  expect(errorFrom(502, "<html>Bad gateway</html>").message).toBe("The gateway answered 502.");
  expect(errorFrom(401, "{}")).toBeInstanceOf(Unauthorised);
});
