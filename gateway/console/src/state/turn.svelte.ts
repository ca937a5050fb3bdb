import type {
  ChatEvent,
  Comparison,
  Marks,
  MessageState,
  QueryResult,
  RunError,
  SearchResult,
  Source,
  StoredMessage,
  Timings,
  Usage,
} from "../api/types";

export const NO_MARKS: Marks = { thumb: null, stars: null, comment: null, correction: null };

/** One thing an agent did on the way to its answer. */
export type Step =
  | { kind: "route"; route: string }
  | { kind: "notice"; text: string }
  | ToolStep;

export interface ToolStep {
  kind: "tool";
  id: string;
  name: string;
  arguments: Record<string, unknown>;
  result: ToolOutcome | null;
}

export interface ToolOutcome {
  ok: boolean;
  text: string;
  structured: unknown;
  ms: number;
}

/** An answer as it grows. `apply` takes the run's events one by one; stored messages are read by the same door. */
export class Answer {
  id = $state("");
  state = $state<MessageState>("running");
  content = $state("");
  steps = $state<Step[]>([]);
  sources = $state.raw<Source[]>([]);
  usage = $state.raw<Usage | null>(null);
  timings = $state.raw<Timings | null>(null);
  error = $state.raw<RunError | null>(null);
  trace = $state("");
  marks = $state.raw<Marks>(NO_MARKS);
  comparison = $state.raw<Comparison | null>(null);
  /** Two answers are shown instead of this one. */
  comparing = $state(false);
  agent = $state("");
  readonly began = Date.now();

  results: QueryResult[] = $derived(this.steps.map(queryResult).filter((result) => result !== null));

  apply(event: ChatEvent): void {
    switch (event.event) {
      case "start":
        this.id = event.message_id;
        this.trace = event.trace_id;
        this.agent = event.agent;
        break;
      case "route":
        this.steps.push({ kind: "route", route: event.route });
        break;
      case "notice":
        this.steps.push({ kind: "notice", text: event.message });
        break;
      case "tool_call":
        this.steps.push({ kind: "tool", id: event.id, name: event.name, arguments: event.arguments, result: null });
        break;
      case "tool_result":
        this.#finish(event.id, { ok: event.ok, text: event.text, structured: event.structured, ms: event.ms });
        break;
      case "token":
        this.content += event.text;
        break;
      case "sources":
        this.sources = event.items;
        break;
      case "done":
        // The last word is the gateway's: the stored answer, not the sum of what arrived.
        this.content = event.answer || this.content;
        this.usage = event.usage;
        this.timings = event.timings;
        this.state = "complete";
        break;
      case "error":
        this.fail("failed", event);
    }
  }

  fail(state: MessageState, error: RunError | null): void {
    this.state = state;
    this.error = error;
  }

  #finish(id: string, result: ToolOutcome): void {
    const step = this.steps.findLast((one) => one.kind === "tool" && one.id === id);
    if (step?.kind === "tool") step.result = result;
  }

  static stored(message: StoredMessage): Answer {
    const answer = new Answer();
    for (const step of message.steps ?? []) {
      const event = storedEvent(step);
      if (STEPS.has(event.event)) answer.apply(event);
    }
    answer.id = message.id;
    answer.content = message.content;
    answer.state = message.state;
    answer.sources = message.sources ?? [];
    answer.usage = message.usage;
    answer.timings = message.timings;
    answer.trace = message.trace_id ?? "";
    answer.agent = message.agent ?? "";
    answer.error = storedError(message.error);
    return answer;
  }
}

/** A question and its answer. Going on after a failure keeps the turn and takes a new answer. */
export class Turn {
  answer = $state<Answer>(new Answer());

  constructor(
    readonly question: string,
    answer?: Answer,
  ) {
    if (answer) this.answer = answer;
  }

  static stored(messages: StoredMessage[]): Turn[] {
    const turns: Turn[] = [];
    for (const message of messages) {
      const last = turns.at(-1);
      if (message.role === "user") turns.push(new Turn(message.content, waiting()));
      else if (last) last.answer = Answer.stored(message);
    }
    return turns;
  }
}

const STEPS = new Set(["route", "notice", "tool_call", "tool_result"]);

export const unfinished = (answer: Answer) => ["failed", "interrupted", "cancelled"].includes(answer.state);

/** A question whose answer was never written down: the gateway stopped in between. */
function waiting(): Answer {
  const answer = new Answer();
  answer.fail("interrupted", null);
  return answer;
}

function storedEvent(step: Record<string, unknown>): ChatEvent {
  const name = step["event"] ?? step["type"];
  const data = step["data"];
  return { ...step, ...(data && typeof data === "object" ? data : {}), event: name } as ChatEvent;
}

function storedError(error: unknown): RunError | null {
  if (!error) return null;
  if (typeof error === "string") return { message: error, code: "failed", retryable: true };
  return { code: "failed", retryable: true, message: "The answer failed.", ...(error as Partial<RunError>) };
}

export function queryResult(step: Step): QueryResult | null {
  if (step.kind !== "tool" || !step.name.endsWith("sql_query") || !step.result?.ok) return null;
  const found = step.result.structured as QueryResult | null;
  return found && Array.isArray(found.columns) && Array.isArray(found.rows) ? found : null;
}

export function searchResult(step: Step): SearchResult | null {
  if (step.kind !== "tool" || !step.name.endsWith("rag_search") || !step.result?.ok) return null;
  const found = step.result.structured as SearchResult | null;
  return found && Array.isArray(found.hits) ? found : null;
}
