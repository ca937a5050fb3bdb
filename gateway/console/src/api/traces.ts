import type { Client } from "./client";

/** Shapes of /api/v1/traces. Durations are milliseconds. */

export interface Tokens {
  input: number;
  output: number;
  total: number;
}

export interface Score {
  id: string;
  name: string;
  kind: string;
  value: boolean | number | string;
  comment: string | null;
  span: string | null;
  at: string;
}

export interface TraceRow {
  id: string;
  name: string | null;
  project: string | null;
  user: string | null;
  session: string | null;
  conversation_id: string | null;
  message_id: string | null;
  started_at: string;
  ms: number | null;
  model_ms: number;
  tools_ms: number;
  question: string;
  answer: string;
  models: string[];
  adapter: string | null;
  tokens: Tokens;
  /** In US dollars; null where nothing says what it cost. */
  cost: number | null;
  spans: number;
  errors: number;
  scores: Score[];
}

export interface Span {
  id: string;
  parent: string | null;
  depth: number;
  name: string | null;
  kind: string;
  started_at: string;
  offset_ms: number;
  ms: number | null;
  first_ms: number | null;
  level: string;
  status: string | null;
  model: string | null;
  adapter: string | null;
  tokens: Tokens | null;
  cost: number | null;
}

export interface Scored {
  token: string;
  logprob: number;
}

export interface ScoredToken extends Scored {
  top_logprobs: Scored[];
}

/** The first tokens of an answer, with natural logarithms of their probabilities; `tokens` is how many there were. */
export interface Logprobs {
  tokens: number;
  content: ScoredToken[];
}

export interface Trace extends TraceRow {
  tree: Span[];
  truncated: boolean;
}

export interface SpanDetail {
  id: string;
  input: unknown;
  output: unknown;
  metadata: Record<string, unknown>;
  parameters: Record<string, unknown>;
  logprobs: Logprobs | null;
  cut: boolean;
}

export interface TracePage {
  items: TraceRow[];
  cursor: string | null;
}

const enc = encodeURIComponent;

export const listTraces = (client: Client, query: URLSearchParams) => client.get<TracePage>(`/traces?${query}`);
export const getTrace = (client: Client, id: string) => client.get<Trace>(`/traces/${enc(id)}`);
export const getSpan = (client: Client, trace: string, span: string) =>
  client.get<SpanDetail>(`/traces/${enc(trace)}/spans/${enc(span)}`);
