/**
 * Server-sent events over fetch, because EventSource can neither POST nor carry a bearer key.
 * The grammar is the one of the HTML standard, section 9.2.6 "Interpreting an event stream".
 */
export interface ServerEvent {
  event: string;
  data: string;
  id: string;
}

export class EventParser {
  #rest = "";
  #event = "";
  #data: string[] = [];
  #id = "";
  #first = true;

  /** Takes the next piece of text, cut anywhere, and gives the events that it completes. */
  push(piece: string): ServerEvent[] {
    let text = this.#rest + piece;
    if (this.#first && text.length > 0) {
      text = text.replace(/^\uFEFF/, "");
      this.#first = false;
    }
    const events: ServerEvent[] = [];
    let start = 0;
    for (;;) {
      const end = lineEnd(text, start);
      if (!end) break;
      const event = this.#line(text.slice(start, end.at));
      if (event) events.push(event);
      start = end.next;
    }
    this.#rest = text.slice(start);
    return events;
  }

  #line(line: string): ServerEvent | null {
    if (line === "") return this.#dispatch();
    if (line.startsWith(":")) return null;
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "event") this.#event = value;
    else if (field === "data") this.#data.push(value);
    else if (field === "id" && !value.includes("\0")) this.#id = value;
    return null;
  }

  #dispatch(): ServerEvent | null {
    const event = this.#data.length
      ? { event: this.#event || "message", data: this.#data.join("\n"), id: this.#id }
      : null;
    this.#event = "";
    this.#data = [];
    return event;
  }
}

/** A line ends at LF, CR or CRLF; a CR that is last so far may be half of a CRLF, so it waits. */
function lineEnd(text: string, start: number): { at: number; next: number } | null {
  for (let at = start; at < text.length; at += 1) {
    if (text[at] === "\n") return { at, next: at + 1 };
    if (text[at] !== "\r") continue;
    if (at + 1 === text.length) return null;
    return { at, next: text[at + 1] === "\n" ? at + 2 : at + 1 };
  }
  return null;
}

/** The events of a response body, until it ends. A character cut in two by the network is put together again. */
export async function* events(body: ReadableStream<Uint8Array>): AsyncGenerator<ServerEvent> {
  const parser = new EventParser();
  const decoder = new TextDecoder();
  const reader = body.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      yield* parser.push(decoder.decode(value, { stream: true }));
    }
  } finally {
    reader.cancel().catch(() => undefined);
  }
}
