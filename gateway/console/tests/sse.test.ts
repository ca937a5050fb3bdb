import { expect, test } from "vitest";

import { EventParser, events } from "../src/api/sse";

const parse = (...pieces: string[]) => {
  const parser = new EventParser();
  return pieces.flatMap((piece) => parser.push(piece)).map(({ event, data }) => [event, data]);
};

test("an event ends with an empty line, whatever the line ends are", () => {
  for (const end of ["\n", "\r\n", "\r"]) {
    const text = `event: token${end}data: {"text":"a"}${end}${end}`;
    // A lone CR is only known to be a line's end when the next character is there.
    expect(parse(text, ":")).toEqual([["token", '{"text":"a"}']]);
  }
});

test("pieces may be cut anywhere", () => {
  const text = 'event: token\r\ndata: {"text":"über"}\r\n\r\nevent: done\ndata: {}\n\n';
  const whole = parse(text);
  expect(whole).toHaveLength(2);
  for (let cut = 1; cut < text.length; cut += 1) {
    expect(parse(text.slice(0, cut), text.slice(cut))).toEqual(whole);
  }
  expect(parse(...text)).toEqual(whole);
});

test("several data lines are joined, comments and unknown fields are left out", () => {
  expect(parse(": ping\ndata: one\ndata:two\nretry: 5\nfoo: bar\n\n")).toEqual([["message", "one\ntwo"]]);
});

test("an event without data is none, and one that is cut off at the end is dropped", () => {
  expect(parse("event: token\n\ndata: half")).toEqual([]);
});

test("a byte order mark at the start is no part of the first field", () => {
  expect(parse("\uFEFFdata: x\n\n")).toEqual([["message", "x"]]);
});

test("a character that is cut in two by the network is put together again", async () => {
  const bytes = new TextEncoder().encode("event: token\ndata: سلام\n\n");
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      for (const byte of bytes) controller.enqueue(Uint8Array.of(byte));
      controller.close();
    },
  });
  const found = [];
  for await (const event of events(body)) found.push(event.data);
  expect(found).toEqual(["سلام"]);
});
