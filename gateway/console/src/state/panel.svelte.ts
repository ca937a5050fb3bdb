import { sentence } from "../api/errors";
import type { Passage, Source } from "../api/types";
import { session } from "./session.svelte";

/** Characters to show of a document that is read from its beginning. */
const FIRST = 20_000;

/** The side panel with a passage in its context; opened from a source chip, a citation or, to be read, a document. */
class Panel {
  project = $state("");
  sources = $state.raw<Source[]>([]);
  index = $state(0);
  passage = $state.raw<Passage | null>(null);
  problem = $state("");
  isOpen = $state(false);
  /** No passage was cited: the text itself is wanted. */
  reading = $state(false);
  source: Source | null = $derived(this.sources[this.index] ?? null);

  #opener: HTMLElement | null = null;

  open(project: string, sources: Source[], n: number): void {
    this.reading = false;
    if (!this.isOpen) this.#opener = document.activeElement as HTMLElement | null;
    this.project = project;
    this.sources = sources;
    this.isOpen = true;
    this.show(Math.max(0, sources.findIndex((one) => one.n === n)));
  }

  read(project: string, document: string, document_id: string): void {
    const place = { page: null, section: null, quote: null, score: null, start: 0, end: FIRST };
    this.open(project, [{ n: 1, document, document_id, verified: false, ...place }], 1);
    this.reading = true;
  }

  show(index: number): void {
    this.index = index;
    void this.load();
  }

  async load(): Promise<void> {
    const source = this.source;
    if (!source) return;
    this.passage = null;
    this.problem = "";
    try {
      const found = await session.api.passage(this.project, source.document_id, source.start ?? 0, source.end ?? FIRST);
      if (this.source === source) this.passage = found;
    } catch (problem) {
      if (!session.ended(problem) && this.source === source) this.problem = sentence(problem);
    }
  }

  /** Closes, and gives the focus back to what opened it. */
  close(): void {
    this.isOpen = false;
    this.passage = null;
    this.#opener?.focus();
    this.#opener = null;
  }
}

export const panel = new Panel();
