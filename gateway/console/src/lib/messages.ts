/** What passed between a program and a model, as chat: OpenAI's messages, LangChain's, or something that holds them. */

export interface Call {
  name: string;
  arguments: Record<string, unknown>;
}

export interface Said {
  role: "system" | "user" | "assistant" | "tool";
  name: string | null;
  text: string;
  calls: Call[];
  /** What a tool gave besides its text, for a table or a list. */
  data: unknown;
}

export interface Talk {
  messages: Said[];
  /** Names of the tools that the model was offered. */
  offered: string[];
}

type Raw = Record<string, unknown>;

const ROLES: Record<string, Said["role"]> = {
  system: "system",
  developer: "system",
  user: "user",
  human: "user",
  assistant: "assistant",
  ai: "assistant",
  tool: "tool",
  function: "tool",
};

/** Null for what is no message and no list of them. */
export function talkOf(value: unknown): Talk | null {
  const list = Array.isArray(value) ? value : isRaw(value) && Array.isArray(value["messages"]) ? value["messages"] : [value];
  if (list.length === 0 || !list.every((one) => roleOf(one) !== null)) return null;
  const beside = isRaw(value) && Array.isArray(value["tools"]) ? value["tools"].map(toolName) : [];
  const offered = [...list.map(offeredTool), ...beside].filter((name) => name !== null);
  return { messages: list.filter((one) => offeredTool(one) === null).map(said), offered };
}

function roleOf(value: unknown): Said["role"] | null {
  if (!isRaw(value) || !("content" in value || "tool_calls" in value)) return null;
  const role = value["role"] ?? value["type"];
  return typeof role === "string" ? (ROLES[role] ?? null) : null;
}

/** Langfuse's handler writes the tools of a request between its messages. */
const offeredTool = (value: unknown) => toolName(isRaw(value) ? value["content"] : null);

function toolName(tool: unknown): string | null {
  if (!isRaw(tool) || tool["type"] !== "function" || !isRaw(tool["function"])) return null;
  return String(tool["function"]["name"] ?? "");
}

function said(value: unknown): Said {
  const raw = value as Raw;
  const artifact = isRaw(raw["artifact"]) ? raw["artifact"] : {};
  return {
    role: roleOf(raw) ?? "user",
    name: typeof raw["name"] === "string" ? raw["name"] : null,
    text: textOf(raw["content"]),
    calls: Array.isArray(raw["tool_calls"]) ? raw["tool_calls"].filter(isRaw).map(callOf) : [],
    data: artifact["structured_content"] ?? null,
  };
}

function textOf(content: unknown): string {
  if (typeof content === "string") return content;
  if (content === null || content === undefined) return "";
  if (Array.isArray(content)) return content.map((part) => (isRaw(part) && "text" in part ? String(part["text"]) : textOf(part))).join("\n");
  return JSON.stringify(content, null, 2);
}

function callOf(raw: Raw): Call {
  const inner = isRaw(raw["function"]) ? raw["function"] : raw;
  const given = inner["arguments"] ?? inner["args"] ?? {};
  return { name: String(inner["name"] ?? "tool"), arguments: argumentsOf(given) };
}

function argumentsOf(given: unknown): Raw {
  if (isRaw(given)) return given;
  try {
    const parsed: unknown = JSON.parse(String(given));
    if (isRaw(parsed)) return parsed;
  } catch {
    // A model's call that is no JSON is shown as it came.
  }
  return { arguments: given };
}

export function isRaw(value: unknown): value is Raw {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
