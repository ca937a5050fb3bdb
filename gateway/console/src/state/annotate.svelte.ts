import { judge, nextTask, skip, undo, type Choice, type Judgement, type Next, type Progress, type Task } from "../api/annotation";
import { sentence } from "../api/errors";
import { live } from "./live.svelte";
import { session } from "./session.svelte";
import { toasts } from "./toasts.svelte";

const SAID: Record<Choice, string> = {
  left: "The left answer is better.",
  right: "The right answer is better.",
  tie: "A tie.",
  both_bad: "Both are bad.",
};
const DRAFT = "loopyard.judging.";

interface Draft {
  reasons: string[];
  comment: string;
  correction: string;
  stars: Stars;
  seconds: number;
}

/** How good each answer is by itself, from 1 to 5. */
export type Stars = Record<"left" | "right", number | null>;
const NO_STARS: Stars = { left: null, right: null };

/**
 * One annotator at work. What was written lies in this tab's storage too, so that neither a reload nor a gateway that
 * does not answer costs a word, and an undo finds it again.
 */
export class Judging {
  task = $state.raw<Task | null>(null);
  progress = $state.raw<Progress | null>(null);
  reasons = $state<string[]>([]);
  comment = $state("");
  correction = $state("");
  stars = $state<Stars>({ ...NO_STARS });
  before = $state<Choice | null>(null);
  seconds = $state(0);
  busy = $state(false);
  problem = $state("");
  again = $state(false);

  #retry: () => Promise<void> = () => this.next();

  constructor(readonly project: string) {}

  /** `again`: those that were skipped. */
  async next(again = this.again): Promise<void> {
    this.again = again;
    await this.#do(
      () => nextTask(session.api, this.project, again),
      (found) => this.#show(found),
      () => this.next(again),
    );
  }

  async choose(choice: Choice): Promise<void> {
    const task = this.task;
    if (!task || this.busy) return;
    const given: Judgement = {
      choice,
      reasons: [...this.reasons],
      comment: this.comment.trim(),
      correction: this.correction.trim() || null,
      left_stars: this.stars.left,
      right_stars: this.stars.right,
      seconds: Math.round(this.seconds * 10) / 10,
    };
    this.keep();
    await this.#leave(() => judge(session.api, this.project, task.id, given), SAID[choice], () => this.choose(choice));
  }

  async skip(): Promise<void> {
    const task = this.task;
    if (!task || this.busy) return;
    await this.#leave(() => skip(session.api, this.project, task.id), "Skipped.", () => this.skip());
  }

  async undo(): Promise<void> {
    if (this.busy) return;
    this.keep();
    await this.#do(
      () => undo(session.api, this.project),
      (found) => {
        this.#show(found);
        live.say("Taken back. Judge this pair again.");
      },
      // Not another undo: the first may have arrived, and its task is the next one then.
      () => this.next(),
    );
  }

  retry(): void {
    void this.#retry();
  }

  /** Called each second that the page is looked at. */
  tick(): void {
    if (!this.task || this.busy) return;
    this.seconds += 1;
    this.keep();
  }

  keep(): void {
    if (!this.task) return;
    const { reasons, comment, correction, stars, seconds } = this;
    store(this.task.id, { reasons: [...reasons], comment, correction, stars: { ...stars }, seconds });
  }

  async #leave(send: () => Promise<Progress>, said: string, retry: () => Promise<void>): Promise<void> {
    await this.#do(
      send,
      (progress) => {
        this.progress = progress;
        live.say(`${said} ${progress.left} left.`);
      },
      retry,
    );
    if (!this.problem) await this.next();
  }

  #show({ task, judgement, progress }: Next): void {
    const draft = task ? (drafted(task.id) ?? asDraft(judgement)) : null;
    this.task = task;
    this.progress = progress;
    this.before = judgement?.choice ?? null;
    this.reasons = draft?.reasons ?? [];
    this.comment = draft?.comment ?? "";
    this.correction = draft?.correction ?? "";
    this.stars = { ...NO_STARS, ...draft?.stars };
    this.seconds = draft?.seconds ?? 0;
    this.keep();
  }

  async #do<T>(ask: () => Promise<T>, apply: (found: T) => void, retry: () => Promise<void>): Promise<void> {
    this.busy = true;
    this.problem = "";
    try {
      apply(await ask());
    } catch (problem) {
      if (session.ended(problem)) return;
      if (sentence(problem).includes("nothing to take back")) toasts.show(sentence(problem));
      else {
        this.problem = sentence(problem);
        this.#retry = retry;
      }
    } finally {
      this.busy = false;
    }
  }
}

function asDraft(judgement: Judgement | null): Draft | null {
  if (!judgement) return null;
  const { reasons, comment, correction, left_stars, right_stars, seconds } = judgement;
  const stars = { left: left_stars, right: right_stars };
  return { reasons, comment, correction: correction ?? "", stars, seconds: seconds ?? 0 };
}

/** By the public part of the key too: another annotator at the same screen does not read these words. */
const place = (task: string) => `${DRAFT}${session.api.key.split("_").slice(0, 2).join("_")}.${task}`;

function drafted(task: string): Draft | null {
  try {
    return JSON.parse(sessionStorage.getItem(place(task)) ?? "null") as Draft | null;
  } catch {
    return null;
  }
}

function store(task: string, draft: Draft): void {
  try {
    sessionStorage.setItem(place(task), JSON.stringify(draft));
  } catch {
    // Storage is full or refused: the words last as long as the page.
  }
}
