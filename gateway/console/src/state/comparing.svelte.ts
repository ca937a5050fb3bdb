import { sentence } from "../api/errors";
import type { Comparison } from "../api/types";
import { live } from "./live.svelte";
import { session } from "./session.svelte";
import type { Answer } from "./turn.svelte";

export type Choice = NonNullable<Comparison["choice"]>;

const SAID: Record<Choice, string> = {
  left: "A is better.",
  right: "B is better.",
  tie: "A tie.",
  both_bad: "Both are bad.",
};

/** A second answer beside the first, and the choice between the two. */
export class Comparing {
  models = $state.raw<string[]>([]);
  busy = $state<"asking" | "choosing" | null>(null);
  problem = $state("");

  constructor(readonly answer: Answer) {}

  /** Without the list a model is still chosen by the gateway. */
  async list(): Promise<void> {
    const found = await session.api.get<{ items: string[] }>("/feedback/comparisons/models").catch(() => null);
    this.models = found?.items ?? [];
  }

  async ask(model: string, temperature: number | null): Promise<void> {
    const wanted = { message_id: this.answer.id, model: model || null, temperature };
    live.say("A second answer is being written.");
    await this.#do("asking", async () => {
      this.answer.comparison = await session.api.send<Comparison>("POST", "/feedback/comparisons", wanted);
      live.say("Two answers. Which one is better?");
    });
  }

  /** Null takes the choice back. */
  async choose(choice: Choice | null): Promise<void> {
    const pair = this.answer.comparison;
    if (!pair || this.busy) return;
    await this.#do("choosing", async () => {
      this.answer.comparison = await session.api.send<Comparison>("PUT", `/feedback/comparisons/${pair.id}`, { choice });
      live.say(choice ? `${SAID[choice]} Thank you.` : "Taken back.");
    });
  }

  async #do(what: "asking" | "choosing", work: () => Promise<void>): Promise<void> {
    this.busy = what;
    this.problem = "";
    try {
      await work();
    } catch (problem) {
      if (!session.ended(problem)) this.problem = sentence(problem);
    } finally {
      this.busy = null;
    }
  }
}
