import { Marked, type RendererObject, type Token, type Tokens } from "marked";

import { clean, escapeHtml, SAFE_ADDRESS } from "./clean";
import { highlight } from "./highlight";

/** A top-level piece of an answer: prose as clean HTML, or code, which has a component of its own. */
export type Block = { kind: "html"; html: string } | { kind: "code"; language: string; code: string };

type Cited = Tokens.Generic & { n: number };

// Every block (a list is one, so that its marks stand on one side) takes its direction from its own first strong letter, so that an Arabic paragraph between two English
// ones reads right. Raw HTML is shown as text and a picture as a link: see clean.ts.
const renderer: RendererObject = {
  html: ({ text }) => escapeHtml(text),
  image: ({ href, text }) => link(href, escapeHtml(text || href)),
  link(token) {
    return link(token.href, this.parser.parseInline(token.tokens));
  },
  paragraph(token) {
    return `<p dir="auto">${this.parser.parseInline(token.tokens)}</p>`;
  },
  heading(token) {
    const level = Math.min(token.depth + 2, 6);
    return `<h${level} dir="auto">${this.parser.parseInline(token.tokens)}</h${level}>`;
  },
  blockquote(token) {
    return `<blockquote dir="auto">${this.parser.parse(token.tokens)}</blockquote>`;
  },
  list(token) {
    const tag = token.ordered ? "ol" : "ul";
    const start = token.ordered && token.start !== 1 ? ` start="${token.start}"` : "";
    return `<${tag} dir="auto"${start}>${token.items.map((item) => this.listitem(item)).join("")}</${tag}>`;
  },
  listitem(item) {
    return `<li>${this.parser.parse(item.tokens)}</li>`;
  },
  checkbox: ({ checked }) => (checked ? "☑ " : "☐ "),
  code: ({ text, lang }) => `<pre dir="ltr" tabindex="0"><code>${highlight(text, lang ?? "")}</code></pre>`,
  codespan: ({ text }) => `<code dir="ltr">${escapeHtml(text)}</code>`,
  table(token) {
    const cells = (row: Tokens.TableCell[], tag: string) =>
      row.map((cell) => `<${tag} dir="auto">${this.parser.parseInline(cell.tokens)}</${tag}>`).join("");
    const head = `<thead><tr>${cells(token.header, "th")}</tr></thead>`;
    const body = token.rows.map((row) => `<tr>${cells(row, "td")}</tr>`).join("");
    return `<div class="scroll" role="region" aria-label="Table" tabindex="0"><table>${head}<tbody>${body}</tbody></table></div>`;
  },
};

let known: ReadonlySet<number> = new Set();

const marked = new Marked({ gfm: true, breaks: true, renderer });
marked.use({
  extensions: [
    {
      name: "citation",
      level: "inline",
      start: (text: string) => text.search(/\[\d/),
      tokenizer(text: string): Cited | undefined {
        const found = /^ ?\[(\d{1,2})\](?![(:[])/.exec(text);
        return found ? { type: "citation", raw: found[0], n: Number(found[1]) } : undefined;
      },
      renderer: (token: Tokens.Generic) => citation((token as Cited).n),
    },
  ],
});

function citation(n: number): string {
  if (!known.has(n)) return `<span class="cite">${n}</span>`;
  return `<button type="button" class="cite" data-cite="${n}" aria-label="Open source ${n}">${n}</button>`;
}

function link(href: string, inner: string): string {
  if (!SAFE_ADDRESS.test(href)) return inner;
  return `<a href="${escapeHtml(href)}" target="_blank" rel="noopener noreferrer">${inner}</a>`;
}

/**
 * Markdown to blocks. Streaming calls this with a growing text: earlier blocks come out equal, so the page keeps them.
 * @param sources numbers that `[n]` may open; others are shown as plain marks
 */
export function blocks(text: string, sources: ReadonlySet<number> = new Set()): Block[] {
  known = sources;
  const tokens = marked.lexer(text);
  return tokens.filter((token) => token.type !== "space").map((token) => block(token, tokens.links));
}

function block(token: Token, links: Tokens.Link[] | Record<string, unknown>): Block {
  if (token.type === "code") {
    const { text, lang } = token as Tokens.Code;
    return { kind: "code", language: (lang ?? "").trim().split(/\s/)[0] ?? "", code: text };
  }
  const one = Object.assign([token], { links }) as Parameters<typeof marked.parser>[0];
  return { kind: "html", html: clean(marked.parser(one)) };
}
