import { sentence } from "../api/errors";
import type { DocumentState, ProjectDocument } from "../api/types";
import { live } from "./live.svelte";
import { perProject } from "./per-project";
import { session } from "./session.svelte";
import { toasts } from "./toasts.svelte";
import { workspace } from "./workspace.svelte";

const AT_ONCE = 2;
const POLL_MS = 1_000;
const PATIENT_MS = 10_000;
const SETTLED: DocumentState[] = ["ready", "failed", "awaiting-embeddings"];

export interface Sending {
  id: number;
  file: File;
  share: number;
  error: string;
  started: boolean;
  abort: AbortController;
}

/** A project's documents, the uploads on their way, and the polling that follows the gateway's work on them. */
export class Documents {
  items = $state.raw<ProjectDocument[]>([]);
  sending = $state<Sending[]>([]);
  loaded = $state(false);
  problem = $state("");
  working = $derived(this.items.some((one) => !SETTLED.includes(one.state)));

  #next = 1;
  #timer = 0;

  constructor(readonly project: string) {}

  async load(): Promise<void> {
    window.clearTimeout(this.#timer);
    try {
      const before = this.items;
      this.items = await session.api.documents(this.project);
      this.#tell(before);
      this.problem = "";
      this.loaded = true;
    } catch (problem) {
      if (session.ended(problem)) return;
      this.problem = sentence(problem);
    }
    // A document without vectors gets them when the model server is back, which may be later today.
    const waiting = this.items.some((one) => one.state === "awaiting-embeddings");
    const pause = this.working ? POLL_MS : waiting ? PATIENT_MS : 0;
    if (pause) this.#timer = window.setTimeout(() => void this.load(), pause);
  }

  /** Says what has ended since the list was read last, for those who do not see the bars. */
  #tell(before: ProjectDocument[]): void {
    const known = new Map(before.map((one) => [one.id, one.state]));
    for (const { id, name, state } of this.items) {
      const was = known.get(id);
      if (!was || was === state || !SETTLED.includes(state)) continue;
      live.say(state === "failed" ? `${name} could not be read.` : `${name} is ready.`);
    }
  }

  leave(): void {
    window.clearTimeout(this.#timer);
  }

  add(files: Iterable<File>): void {
    for (const file of files) {
      const entry = { id: this.#next++, file, share: 0, error: "", started: false, abort: new AbortController() };
      if (file.size === 0) entry.error = "The file is empty.";
      this.sending.push(entry);
    }
    this.#pump();
  }

  retry(entry: Sending): void {
    entry.error = "";
    entry.share = 0;
    entry.started = false;
    entry.abort = new AbortController();
    this.#pump();
  }

  drop(entry: Sending): void {
    entry.abort.abort();
    this.sending = this.sending.filter((one) => one.id !== entry.id);
  }

  async remove(document: ProjectDocument): Promise<void> {
    await session.api.deleteDocument(this.project, document.id);
    this.items = this.items.filter((one) => one.id !== document.id);
    void workspace.refreshProjects();
  }

  #pump(): void {
    const active = this.sending.filter((one) => one.started && !one.error).length;
    const waiting = this.sending.filter((one) => !one.started && !one.error);
    for (const entry of waiting.slice(0, Math.max(0, AT_ONCE - active))) void this.#send(entry);
  }

  async #send(entry: Sending): Promise<void> {
    entry.started = true;
    try {
      const known = new Set(this.items.map((one) => one.id));
      const made = await session.api.upload(
        this.project,
        entry.file,
        (share) => (entry.share = share),
        entry.abort.signal,
      );
      if (known.has(made.id)) toasts.show(`${entry.file.name} is already here, with the same content.`);
      this.sending = this.sending.filter((one) => one.id !== entry.id);
      this.items = [made, ...this.items.filter((one) => one.id !== made.id)];
      void this.load();
      void workspace.refreshProjects();
    } catch (problem) {
      if (!entry.abort.signal.aborted && !session.ended(problem)) entry.error = sentence(problem);
    }
    this.#pump();
  }
}

/** One list a project, so that an upload goes on while another screen is open. */
export const documentsOf = perProject((project) => new Documents(project));
