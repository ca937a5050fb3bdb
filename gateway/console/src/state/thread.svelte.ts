import { sentence, Unreachable } from "../api/errors";
import type { ChatEvent, RunError } from "../api/types";
import { Sentences } from "../lib/sentences";
import { live } from "./live.svelte";
import { pathOf, router } from "./router.svelte";
import { session } from "./session.svelte";
import { Answer, Turn, unfinished } from "./turn.svelte";
import { workspace } from "./workspace.svelte";

const FRAME_MS = 33;
const POLL_MS = 1_000;

/** One conversation: its turns, and the run that is under way. It goes on while another screen is open. */
export class Thread {
  id = $state<string | null>(null);
  title = $state("");
  turns = $state<Turn[]>([]);
  loading = $state(false);
  problem = $state("");
  running = $state(false);
  draft = $state("");

  #abort: AbortController | null = null;
  #loaded = false;

  constructor(
    readonly project: string,
    id: string | null,
  ) {
    this.id = id;
  }

  async load(): Promise<void> {
    if (!this.id || this.#loaded || this.running) return;
    this.loading = true;
    this.problem = "";
    try {
      await this.#read();
      this.#loaded = true;
      void this.#follow();
    } catch (problem) {
      if (!session.ended(problem)) this.problem = sentence(problem);
    } finally {
      this.loading = false;
    }
  }

  async #read(): Promise<void> {
    const stored = await session.api.conversation(this.project, this.id ?? "");
    this.title = stored.title;
    this.turns = Turn.stored(stored.messages);
    void this.#readFeedback(stored.id);
  }

  /** An answer can be read without what was thought of it, so that a failure here is no failure of the page. */
  async #readFeedback(conversation: string): Promise<void> {
    const [marks, comparisons] = await Promise.all([
      session.api.feedback(conversation).catch(() => []),
      session.api.comparisons(conversation).catch(() => []),
    ]);
    for (const { answer } of this.turns) {
      answer.marks = marks.find((one) => one.message_id === answer.id) ?? answer.marks;
      answer.comparison = comparisons.findLast((one) => one.message_id === answer.id) ?? answer.comparison;
    }
  }

  /** An answer that another tab or an earlier page is still waiting for is read again until it ends. */
  async #follow(): Promise<void> {
    while (!this.running && this.turns.at(-1)?.answer.state === "running") {
      await new Promise((done) => setTimeout(done, POLL_MS));
      if (this.running || !session.client) return;
      await this.#read().catch(() => undefined);
    }
  }

  async ask(question: string): Promise<void> {
    const turn = new Turn(question);
    this.turns.push(turn);
    await this.#run(turn, { message: question });
  }

  /** Goes on with an answer that stopped early; an answer that is complete is asked for anew, below. */
  async retry(turn: Turn): Promise<void> {
    const { id } = turn.answer;
    if (!unfinished(turn.answer)) return this.ask(turn.question);
    turn.answer = new Answer();
    await this.#run(turn, id ? { retry: id } : { message: turn.question });
  }

  stop(): void {
    this.#abort?.abort();
  }

  async #run(turn: Turn, what: { message: string } | { retry: string }): Promise<void> {
    this.running = true;
    this.#loaded = true;
    const abort = (this.#abort = new AbortController());
    const answer = turn.answer;
    const tokens = new TokenBuffer(answer);
    const question = {
      agent: workspace.agent?.name ?? "general",
      ...what,
      ...(this.id ? { conversation_id: this.id } : {}),
    };
    live.say("Question sent.");
    try {
      for await (const event of session.api.chat(this.project, question, abort.signal)) {
        this.#begin(event, turn);
        tokens.take(event);
      }
      tokens.end();
      if (answer.state === "running") answer.fail("interrupted", CUT);
    } catch (problem) {
      tokens.end();
      if (abort.signal.aborted) answer.fail("cancelled", null);
      else if (!session.ended(problem)) answer.fail(...failure(problem));
    } finally {
      this.running = false;
      live.say(answer.state === "complete" ? "Answer complete." : (answer.error?.message ?? "Answer stopped."));
      void workspace.refreshConversations();
    }
  }

  #begin(event: ChatEvent, turn: Turn): void {
    if (event.event !== "start") return;
    const fresh = this.id === null;
    this.id = event.conversation_id;
    if (fresh) threads.adopt(this);
    workspace.begun(event.conversation_id, this.title || turn.question, event.agent);
  }
}

const CUT: RunError = {
  message: "The connection ended before the answer did. Ask again to retry.",
  code: "interrupted",
  retryable: true,
};

function failure(problem: unknown): ["interrupted" | "failed", RunError] {
  const lost = problem instanceof Unreachable || problem instanceof TypeError;
  const message = problem instanceof TypeError ? CUT.message : sentence(problem);
  return [lost ? "interrupted" : "failed", { message, code: "request", retryable: true }];
}

/** Joins the tokens of one frame, so that the page is laid out thirty times a second and not once a token. */
class TokenBuffer {
  #text = "";
  #timer = 0;
  #sentences = new Sentences();

  constructor(readonly answer: Answer) {}

  take(event: ChatEvent): void {
    if (event.event !== "token") {
      this.#flush();
      this.answer.apply(event);
      return;
    }
    this.#text += event.text;
    this.#timer ||= window.setTimeout(() => this.#flush(), FRAME_MS);
  }

  end(): void {
    this.#flush();
    live.say(this.#sentences.flush());
  }

  #flush(): void {
    window.clearTimeout(this.#timer);
    this.#timer = 0;
    if (!this.#text) return;
    this.answer.apply({ event: "token", text: this.#text });
    live.say(this.#sentences.push(this.#text));
    this.#text = "";
  }
}

/** Every conversation that was opened in this tab, so that going away and coming back loses nothing. */
class Threads {
  #open = new Map<string, Thread>();

  at(project: string, id: string | null): Thread {
    const key = `${project}/${id ?? ""}`;
    let thread = this.#open.get(key);
    if (!thread) {
      thread = new Thread(project, id);
      this.#open.set(key, thread);
    }
    return thread;
  }

  /** A new conversation has got its number: it moves there, and the page's address with it if it is shown. */
  adopt(thread: Thread): void {
    const shown = router.screen === "chat" && router.project === thread.project && router.item === null;
    this.#open.delete(`${thread.project}/`);
    this.#open.set(`${thread.project}/${thread.id}`, thread);
    if (shown) router.go(pathOf(thread.project, "chat", thread.id), true);
  }

  forget(project: string, id: string): void {
    this.#open.get(`${project}/${id}`)?.stop();
    this.#open.delete(`${project}/${id}`);
  }

  clear(): void {
    for (const thread of this.#open.values()) thread.stop();
    this.#open.clear();
  }
}

export const threads = new Threads();
