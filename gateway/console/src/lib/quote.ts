import type { Passage } from "../api/types";

/** A piece of the page: what was found, what is quoted of it, and the text around. */
export interface Piece {
  kind: "around" | "passage" | "quote";
  text: string;
}

/**
 * Cuts a passage in its context into pieces. Spaces and line breaks of any length are equal, since a quote is one line
 * and the extracted text is not. A quote that differs in marks such as Markdown's is still one if the gateway has
 * verified it: then the passage is the quote.
 */
export function pieces(passage: Passage, quote: string | null, verified: boolean): Piece[] {
  const { before, text, after } = passage;
  const whole = before + text + after;
  // The passage begins at or before its quote, and another place that says the same is not the one that was cited.
  const found = find(whole, quote, before.length) ?? find(whole, quote, 0);
  const around = (piece: string): Piece => ({ kind: "around", text: piece });
  const marked: Piece[] = found
    ? [around(whole.slice(0, found[0])), { kind: "quote", text: whole.slice(...found) }, around(whole.slice(found[1]))]
    : [around(before), { kind: quote && verified ? "quote" : "passage", text }, around(after)];
  return marked.filter((piece) => piece.text);
}

function find(text: string, quote: string | null, from: number): [number, number] | null {
  const words = quote?.trim().split(/\s+/).filter(Boolean) ?? [];
  if (words.length === 0) return null;
  const pattern = words.map((word) => word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")).join("\\s+");
  const found = new RegExp(pattern, "i").exec(text.slice(from));
  return found && [from + found.index, from + found.index + found[0].length];
}
