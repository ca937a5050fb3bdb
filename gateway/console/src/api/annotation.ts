import type { Client } from "./client";
import { upload as send } from "./upload";

/** Shapes of /api/v1/annotation/{project}. Nothing says which model an answer is of. */

export type Choice = "left" | "right" | "tie" | "both_bad";

export interface Task {
  id: string;
  prompt: unknown[];
  left: { messages: unknown[] };
  right: { messages: unknown[] };
}

export interface Judgement {
  choice: Choice;
  reasons: string[];
  comment: string;
  correction: string | null;
  left_stars: number | null;
  right_stars: number | null;
  seconds: number | null;
}

export interface Progress {
  tasks: number;
  judged: number;
  skipped: number;
  left: number;
  seconds: number | null;
}

export interface Next {
  task: Task | null;
  judgement: Judgement | null;
  progress: Progress;
}

export interface Measures {
  gold: { judged: number; right: number; accuracy: number | null };
  position: { left: number; right: number; left_share: number | null; p_value: number };
  flips: { pairs: number; rate: number | null };
  median_seconds: number | null;
}

export interface Quality extends Measures {
  tasks: number;
  judged: number;
  judgements: number;
  choices: Partial<Record<Choice, number>>;
  agreement: { pairs_judged_by_several: number; kappa: number | null; alpha: number | null };
  annotators: (Measures & { name: string; judgements: number })[];
}

export interface CollectIn {
  since: string;
  second: number;
  model: string;
  temperature: number;
}

/** A run that makes rows and pairs of a project's chats. */
export interface Collected {
  state: "running" | "done" | "failed" | "stopped";
  doing: string;
  done: number;
  total: number;
  preferences: number;
  same: number;
  added: number;
  error: string;
}

export type Format = "jsonl" | "trl" | "trlx" | "csv";

/** Share of uploaded pairs that is shown twice, as the gateway does with pairs out of chats. */
const AGAIN = 0.1;

const at = (project: string) => `/annotation/${encodeURIComponent(project)}`;

export const collect = (client: Client, project: string, wanted: CollectIn) =>
  client.send<Collected>("POST", `${at(project)}/collect`, wanted);
export const collected = (client: Client, project: string) => client.get<Collected>(`${at(project)}/collect`);
export const stopCollecting = (client: Client, project: string) =>
  client.send<Collected>("DELETE", `${at(project)}/collect`);
export const nextTask = (client: Client, project: string, skipped: boolean) =>
  client.get<Next>(`${at(project)}/next?skipped=${skipped}`);
export const judge = (client: Client, project: string, task: string, judgement: Judgement) =>
  client.send<Progress>("PUT", `${at(project)}/tasks/${task}/judgement`, judgement);
export const skip = (client: Client, project: string, task: string) =>
  client.send<Progress>("POST", `${at(project)}/tasks/${task}/skip`);
export const undo = (client: Client, project: string) => client.send<Next>("POST", `${at(project)}/undo`);
export const quality = (client: Client, project: string) => client.get<Quality>(`${at(project)}/quality`);
export const exported = (client: Client, project: string, format: Format) =>
  client.file(`${at(project)}/export?format=${format}`);
export const uploadTasks = (client: Client, project: string, file: File) =>
  send<{ added: number; known: number }>(
    `/api/v1${at(project)}/tasks?again=${AGAIN}`,
    client.key,
    file,
    () => {},
    new AbortController().signal,
  );
