import type { Dependency, Health } from "./types";

type Raw = Record<string, unknown>;

/** Reads the health answer: dependencies as an object by name or as a list, each a word or an object. */
export function readHealth(body: unknown, ok: boolean): Health {
  const raw = asObject(body);
  const found = raw["dependencies"] ?? raw["checks"] ?? raw["services"] ?? {};
  const dependencies = Array.isArray(found)
    ? found.map((entry) => dependency(text(asObject(entry)["name"]) ?? "unnamed", entry))
    : Object.entries(asObject(found)).map(([name, entry]) => dependency(name, entry));
  return { status: text(raw["status"]) ?? (ok ? "ok" : "unavailable"), dependencies };
}

function dependency(name: string, entry: unknown): Dependency {
  if (typeof entry === "string") return { name, status: entry, detail: null, ms: null };
  if (typeof entry === "boolean") return { name, status: entry ? "ok" : "unavailable", detail: null, ms: null };
  const raw = asObject(entry);
  const status = text(raw["status"] ?? raw["state"]) ?? (raw["ok"] === false ? "unavailable" : "ok");
  const detail = text(raw["detail"] ?? raw["message"] ?? raw["error"] ?? raw["model"] ?? raw["url"]);
  const ms = typeof raw["ms"] === "number" ? raw["ms"] : null;
  return { name, status, detail, ms };
}

const asObject = (value: unknown): Raw => (value && typeof value === "object" ? (value as Raw) : {});
const text = (value: unknown): string | null => (typeof value === "string" && value ? value : null);
