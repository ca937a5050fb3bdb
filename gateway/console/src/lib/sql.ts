const CLAUSE =
  /^(?:FROM|WHERE|GROUP\s+BY|HAVING|ORDER\s+BY|LIMIT|UNION(?:\s+ALL)?|INTERSECT|EXCEPT|(?:(?:LEFT|RIGHT|FULL|INNER|CROSS)\s+)?(?:OUTER\s+)?JOIN)\b/i;
const SHORT = 64;

/** Breaks a one-line statement before its clauses, for reading. Quoted text and brackets are left as they are. */
export function layout(sql: string): string {
  const text = sql.trim();
  if (text.length <= SHORT || text.includes("\n")) return text;
  let out = "";
  let depth = 0;
  for (let at = 0; at < text.length; ) {
    const sign = text[at] ?? "";
    if (sign === "'" || sign === '"' || sign === "`") {
      const end = text.indexOf(sign, at + 1);
      const stop = end < 0 ? text.length : end + 1;
      out += text.slice(at, stop);
      at = stop;
      continue;
    }
    if (sign === "(") depth += 1;
    if (sign === ")") depth -= 1;
    const clause = depth === 0 && /\s/.test(sign) ? CLAUSE.exec(text.slice(at + 1)) : null;
    out += clause ? `\n${clause[0]}` : sign;
    at += clause ? clause[0].length + 1 : 1;
  }
  return out;
}
