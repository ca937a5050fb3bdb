import type { IconName } from "../components/Icon.svelte";
import type { Span } from "../api/traces";

interface Kind {
  name: string;
  icon: IconName;
  /** One of the colours of charts. */
  colour: string;
}

const KINDS: Record<string, Kind> = {
  GENERATION: { name: "Model", icon: "spark", colour: "var(--chart-1)" },
  EMBEDDING: { name: "Embedding", icon: "spark", colour: "var(--chart-5)" },
  TOOL: { name: "Tool", icon: "tool", colour: "var(--chart-2)" },
  RETRIEVER: { name: "Search", icon: "search", colour: "var(--chart-2)" },
  AGENT: { name: "Agent", icon: "route", colour: "var(--chart-3)" },
  EVALUATOR: { name: "Judge", icon: "scale", colour: "var(--chart-4)" },
  GUARDRAIL: { name: "Guard", icon: "shield", colour: "var(--chart-4)" },
  CHAIN: { name: "Step", icon: "route", colour: "var(--chart-3)" },
};
const OTHER: Kind = { name: "Span", icon: "line", colour: "var(--chart-6)" };

export const kindOf = (span: Span): Kind => KINDS[span.kind] ?? OTHER;

/** A call of a model goes by the model: the library's name for it is the same for all. */
export const titleOf = (span: Span) => (span.kind === "GENERATION" && span.model?.split("@")[0]) || (span.name ?? kindOf(span).name);

const INNER = new Set(["CHAIN", "SPAN", "EVENT"]);

/** Without the steps that only hold others, unless they failed; the rest move up to where those stood. */
export function essential(tree: Span[]): Span[] {
  const above: boolean[] = [];
  return tree
    .map((span, index) => {
      const kept = index === 0 || !INNER.has(span.kind) || span.level === "ERROR";
      above.length = span.depth;
      const depth = above.filter(Boolean).length;
      above[span.depth] = kept;
      return kept ? { ...span, depth } : null;
    })
    .filter((span) => span !== null);
}

/** The end of the last span, from the start of the trace; at least a millisecond, so that shares are numbers. */
export function lengthOf(tree: Span[]): number {
  return Math.max(1, ...tree.map((span) => span.offset_ms + (span.ms ?? 0)));
}

/** Times to write over the bars: at most four round ones, the first is zero. */
export function ticks(length: number): number[] {
  const rough = length / 3;
  const unit = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * unit).find((size) => size >= rough) ?? rough;
  const found = [];
  for (let at = 0; at <= length; at += step) found.push(at);
  return found;
}

/** The children of a span that are inside a closed one are not shown. */
export function opened(tree: Span[], closed: ReadonlySet<string>): Span[] {
  let hiddenBelow = Infinity;
  return tree.filter((span) => {
    if (span.depth > hiddenBelow) return false;
    hiddenBelow = closed.has(span.id) ? span.depth : Infinity;
    return true;
  });
}

export const holdsOthers = (tree: Span[], index: number) => (tree[index + 1]?.depth ?? 0) > (tree[index]?.depth ?? 0);
