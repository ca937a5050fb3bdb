import { collect, collected, stopCollecting, type Collected, type CollectIn } from "../api/annotation";
import { sentence } from "../api/errors";
import { session } from "./session.svelte";

const LOOK_MS = 700;

/** A run that makes pairs of a project's chats, followed until it ends. It goes on by itself when nobody looks. */
export class Collecting {
  seen = $state.raw<Collected | null>(null);
  problem = $state("");
  running = $derived(this.seen?.state === "running");

  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    readonly project: string,
    readonly onended: (seen: Collected) => void,
  ) {}

  /** Shows a run that goes on already. */
  async find(): Promise<void> {
    const seen = await collected(session.api, this.project).catch(() => null);
    if (seen?.state === "running") this.#follow(seen);
  }

  start = (wanted: CollectIn) => this.#do(() => collect(session.api, this.project, wanted));
  stop = () => this.#do(() => stopCollecting(session.api, this.project));

  leave(): void {
    clearTimeout(this.#timer);
  }

  async #do(ask: () => Promise<Collected>): Promise<void> {
    this.problem = "";
    clearTimeout(this.#timer);
    try {
      this.#follow(await ask());
    } catch (problem) {
      if (!session.ended(problem)) this.problem = sentence(problem);
    }
  }

  #follow(seen: Collected): void {
    this.seen = seen;
    if (seen.state === "running") {
      this.#timer = setTimeout(() => void this.#do(() => collected(session.api, this.project)), LOOK_MS);
    } else if (seen.state === "failed") this.problem = seen.error;
    else this.onended(seen);
  }
}
