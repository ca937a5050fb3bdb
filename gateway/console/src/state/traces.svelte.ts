import { sentence } from "../api/errors";
import { listTraces, type TraceRow } from "../api/traces";
import { live } from "./live.svelte";
import { session } from "./session.svelte";

/** A list of traces as far as it was read. A new question starts it again; `refresh` adds what is new at the top. */
export class TraceList {
  items = $state.raw<TraceRow[]>([]);
  loaded = $state(false);
  busy = $state(false);
  problem = $state("");
  cursor = $state<string | null>(null);

  #asked = "";

  async load(query: URLSearchParams): Promise<void> {
    const asked = (this.#asked = query.toString());
    this.busy = true;
    await this.#take(asked, async () => {
      const page = await listTraces(session.api, query);
      return () => {
        this.items = unique(page.items);
        this.cursor = page.cursor;
        this.loaded = true;
      };
    });
  }

  async more(): Promise<void> {
    if (this.busy || this.cursor === null) return;
    this.busy = true;
    const query = new URLSearchParams(this.#asked);
    query.set("cursor", this.cursor);
    await this.#take(this.#asked, async () => {
      const page = await listTraces(session.api, query);
      return () => {
        this.items = unique([...this.items, ...page.items]);
        this.cursor = page.cursor;
      };
    });
  }

  async refresh(): Promise<void> {
    if (this.busy || !this.loaded) return;
    await this.#take(this.#asked, async () => {
      const page = await listTraces(session.api, new URLSearchParams(this.#asked));
      return () => {
        const known = new Set(this.items.map((one) => one.id));
        const fresh = page.items.filter((one) => !known.has(one.id)).length;
        this.items = unique([...page.items, ...this.items]);
        if (fresh) live.say(fresh === 1 ? "One new trace." : `${fresh} new traces.`);
      };
    });
  }

  /** An answer to an older question is dropped. */
  async #take(asked: string, fetch: () => Promise<() => void>): Promise<void> {
    try {
      const apply = await fetch();
      if (asked !== this.#asked) return;
      apply();
      this.problem = "";
    } catch (problem) {
      if (asked === this.#asked && !session.ended(problem)) this.problem = sentence(problem);
    } finally {
      if (asked === this.#asked) this.busy = false;
    }
  }
}

/** Of rows about the same trace the first one stays. */
function unique(items: TraceRow[]): TraceRow[] {
  const seen = new Set<string>();
  return items.filter((one) => !seen.has(one.id) && seen.add(one.id));
}

/** The query of the list that was last open, for the way back from a trace. */
export const last = { query: "" };
