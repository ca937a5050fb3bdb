/** Shapes of the gateway's JSON, as its HTTP interface under /api/v1 gives them. */

export interface Me {
  id: string;
  name: string;
  role: string;
}

export interface Agent {
  name: string;
  title: string;
  description: string;
  icon: string | null;
  suggestions: string[];
  tools: string[];
}

export interface Project {
  id: string;
  name: string;
  title: string | null;
  icon: string | null;
  colour: string | null;
  created_at: string;
  documents: number;
  databases: number;
}

export type DocumentState = "queued" | "parsing" | "embedding" | "ready" | "awaiting-embeddings" | "failed";

export interface ProjectDocument {
  id: string;
  name: string;
  media_type: string;
  bytes: number;
  state: DocumentState;
  error: string | null;
  progress: { done: number; total: number } | null;
  pages: number | null;
  chunks: number | null;
  created_at: string;
}

export interface Passage {
  name: string;
  page: number | null;
  section: string | null;
  text: string;
  before: string;
  after: string;
}

export interface Database {
  id: string;
  name: string;
  dialect: string;
  tables: number | null;
  created_at: string;
}

export interface Column {
  name: string;
  type: string;
  nullable: boolean;
  primary_key: boolean;
}

export interface Table {
  name: string;
  columns: Column[];
  foreign_keys: { column: string; references: string }[];
  rows: number | null;
}

export interface DatabaseSchema {
  name: string;
  dialect: string;
  tables: Table[];
}

export type Cell = string | number | boolean | null;

export interface QueryResult {
  database: string;
  sql: string;
  columns: string[];
  rows: Cell[][];
  row_count: number;
  truncated: boolean;
  ms: number;
}

export interface Hit {
  n: number;
  document: string;
  document_id: string;
  title: string | null;
  page: number | null;
  section: string | null;
  text: string;
  start: number;
  end: number;
  score: number;
  scores: { dense: number | null; bm25: number | null; rrf: number | null };
}

export interface SearchResult {
  hits: Hit[];
  mode: string;
  language: string;
}

export interface Source {
  n: number;
  document: string;
  document_id: string;
  page: number | null;
  section: string | null;
  quote: string | null;
  score: number | null;
  start: number | null;
  end: number | null;
  verified: boolean;
}

export interface Usage {
  prompt_tokens: number;
  completion_tokens: number;
  total_tokens: number;
}

export interface Timings {
  total_ms: number;
  first_token_ms: number | null;
  model_ms: number | null;
  tools_ms: number | null;
}

export interface RunError {
  message: string;
  code: string;
  retryable: boolean;
}

export type ChatEvent =
  | { event: "start"; conversation_id: string; question_id: string; message_id: string; trace_id: string; agent: string }
  | { event: "route"; route: string }
  | { event: "notice"; code: string; message: string }
  | { event: "tool_call"; id: string; name: string; arguments: Record<string, unknown> }
  | { event: "tool_result"; id: string; name: string; ok: boolean; text: string; structured: unknown; ms: number }
  | { event: "token"; text: string }
  | { event: "sources"; items: Source[] }
  | { event: "done"; message_id: string; answer: string; usage: Usage | null; timings: Timings | null }
  | ({ event: "error" } & RunError);

export type MessageState = "complete" | "running" | "interrupted" | "failed" | "cancelled";

export interface StoredMessage {
  id: string;
  role: "user" | "assistant";
  content: string;
  state: MessageState;
  trace_id: string | null;
  agent: string | null;
  steps: Record<string, unknown>[] | null;
  sources: Source[] | null;
  usage: Usage | null;
  timings: Timings | null;
  error: unknown;
  created_at: string;
}

export interface ConversationSummary {
  id: string;
  title: string;
  agent: string;
  created_at: string;
  updated_at: string;
}

export interface StoredConversation extends ConversationSummary {
  messages: StoredMessage[];
}

/** One process that the gateway depends on, as the health page shows it. */
export interface Dependency {
  name: string;
  status: string;
  detail: string | null;
  ms: number | null;
}

export interface Health {
  status: string;
  dependencies: Dependency[];
}

export type Thumb = "up" | "down";

/** What the reader thinks of an answer; null is nothing. */
export interface Marks {
  thumb: Thumb | null;
  stars: number | null;
  comment: string | null;
  correction: string | null;
}

export interface Feedback extends Marks {
  message_id: string;
}

/** Two answers to one question, in an order that says nothing. */
export interface Comparison {
  id: string;
  message_id: string;
  left: string;
  right: string;
  choice: "left" | "right" | "tie" | "both_bad" | null;
}
