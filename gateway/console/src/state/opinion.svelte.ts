import { sentence } from "../api/errors";
import type { Marks, Thumb } from "../api/types";
import { live } from "./live.svelte";
import { session } from "./session.svelte";
import { NO_MARKS, type Answer } from "./turn.svelte";

/** What somebody is about to say of an answer. It is kept until it has arrived, or is thrown away by hand. */
export class Opinion {
  stars = $state<number | null>(null);
  comment = $state("");
  correction = $state("");
  busy = $state(false);
  problem = $state("");
  /** What the last change replaced. */
  before = $state.raw<Partial<Marks> | null>(null);
  #from = $state.raw<Marks>(NO_MARKS);

  constructor(readonly answer: Answer) {
    this.reset();
  }

  // Worked out at each look: a $derived would end with the panel that was open first.
  get changes(): Partial<Marks> {
    const text = this.correction.trim();
    const wanted: Partial<Marks> = {
      stars: this.stars,
      comment: this.comment.trim() || null,
      correction: text === "" || text === this.answer.content.trim() ? null : this.correction,
    };
    return Object.fromEntries(
      Object.entries(wanted).filter(([name, value]) => value !== this.#from[name as keyof Marks]),
    ) as Partial<Marks>;
  }

  get changed(): boolean {
    return Object.keys(this.changes).length > 0;
  }

  /** The answer itself is where a correction begins. */
  reset(): void {
    const { stars, comment, correction } = (this.#from = this.answer.marks);
    this.stars = stars;
    this.comment = comment ?? "";
    this.correction = correction ?? this.answer.content;
    this.problem = "";
  }

  /** What was said before may be known later than the panel is open; what is typed stays. */
  refresh(): void {
    if (this.answer.marks !== this.#from && !this.changed) this.reset();
  }

  /** Pressing a thumb a second time takes it back. Whether it was given. */
  async press(thumb: Thumb): Promise<boolean> {
    const given = this.answer.marks.thumb === thumb ? null : thumb;
    return (await this.#send({ thumb: given }, given ? "Thank you." : "Taken back.")) && given !== null;
  }

  async save(): Promise<void> {
    const { changes } = this;
    if (this.busy || !this.changed) return;
    const before = Object.fromEntries(
      Object.keys(changes).map((name) => [name, this.answer.marks[name as keyof Marks]]),
    ) as Partial<Marks>;
    if (!(await this.#send(changes, "Saved."))) return;
    this.before = before;
    this.reset();
  }

  async undo(): Promise<void> {
    if (this.busy || !this.before) return;
    if (!(await this.#send(this.before, "Taken back."))) return;
    this.before = null;
    this.reset();
  }

  async #send(marks: Partial<Marks>, said: string): Promise<boolean> {
    this.busy = true;
    this.problem = "";
    try {
      const { thumb, stars, comment, correction } = await session.api.mark(this.answer.id, marks);
      this.answer.marks = { ...NO_MARKS, thumb, stars, comment, correction };
      live.say(said);
      return true;
    } catch (problem) {
      if (!session.ended(problem)) this.problem = sentence(problem);
      return false;
    } finally {
      this.busy = false;
    }
  }
}

const opinions = new WeakMap<Answer, Opinion>();

/** The same for an answer as long as it is on a page of this tab: to look elsewhere costs no word. */
export function opinionOf(answer: Answer): Opinion {
  let found = opinions.get(answer);
  if (!found) opinions.set(answer, (found = new Opinion(answer)));
  return found;
}
