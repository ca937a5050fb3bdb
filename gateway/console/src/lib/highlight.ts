import hljs from "highlight.js/lib/core";
import bash from "highlight.js/lib/languages/bash";
import json from "highlight.js/lib/languages/json";
import python from "highlight.js/lib/languages/python";
import sql from "highlight.js/lib/languages/sql";
import typescript from "highlight.js/lib/languages/typescript";
import xml from "highlight.js/lib/languages/xml";
import yaml from "highlight.js/lib/languages/yaml";

import { clean, escapeHtml } from "./clean";

for (const [name, language] of Object.entries({ bash, json, python, sql, typescript, xml, yaml })) {
  hljs.registerLanguage(name, language);
}
hljs.registerAliases(["js", "javascript", "jsx", "ts", "tsx"], { languageName: "typescript" });
hljs.registerAliases(["sqlite", "postgres", "postgresql"], { languageName: "sql" });

/** Code as HTML with highlight.js classes; a language that is not known is left plain. */
export function highlight(code: string, language: string): string {
  if (!hljs.getLanguage(language)) return escapeHtml(code);
  return clean(hljs.highlight(code, { language, ignoreIllegals: true }).value);
}
