import { errorFrom, Unreachable } from "./errors";
import { readHealth } from "./health";
import { events } from "./sse";
import type {
  Agent,
  ChatEvent,
  Comparison,
  ConversationSummary,
  Database,
  DatabaseSchema,
  Feedback,
  Health,
  Marks,
  Me,
  Passage,
  Project,
  ProjectDocument,
  QueryResult,
  StoredConversation,
} from "./types";
import { upload, type UploadProgress } from "./upload";

const BASE = "/api/v1";

/** `retry` names an answer that stopped early; the gateway goes on from its last step. */
interface Question {
  agent: string;
  message?: string;
  conversation_id?: string;
  retry?: string;
}

/** Typed calls of the gateway with one API key. Every call rejects with an error of ./errors. */
export class Client {
  constructor(readonly key: string) {}

  me = () => this.#get<Me>("/me");
  agents = () => this.#list<Agent>("/agents");

  projects = () => this.#list<Project>("/projects");
  createProject = (project: { name: string; title: string; colour: string }) =>
    this.#send<Project>("POST", "/projects", project);

  documents = (project: string) => this.#list<ProjectDocument>(`${at(project)}/documents`);
  deleteDocument = (project: string, id: string) => this.#send<void>("DELETE", `${at(project)}/documents/${enc(id)}`);
  passage = (project: string, id: string, start: number, end: number) =>
    this.#get<Passage>(`${at(project)}/documents/${enc(id)}/passage?start=${start}&end=${end}`);
  upload = (project: string, file: File, onProgress: UploadProgress, signal: AbortSignal) =>
    upload(`${BASE}${at(project)}/documents`, this.key, file, onProgress, signal);

  databases = (project: string) => this.#list<Database>(`${at(project)}/databases`);
  addDatabase = (project: string, name: string, url: string) =>
    this.#send<Database>("POST", `${at(project)}/databases`, { name, url });
  deleteDatabase = (project: string, name: string) =>
    this.#send<void>("DELETE", `${at(project)}/databases/${enc(name)}`);
  query = (project: string, name: string, sql: string) =>
    this.#send<QueryResult>("POST", `${at(project)}/databases/${enc(name)}/query`, { sql });

  async schema(project: string, name: string): Promise<DatabaseSchema> {
    type Wrapped = DatabaseSchema & { databases?: DatabaseSchema[] };
    const found = await this.#get<Wrapped>(`${at(project)}/databases/${enc(name)}/schema`);
    return found.databases?.[0] ?? found;
  }

  conversations = (project: string) => this.#list<ConversationSummary>(`${at(project)}/conversations`);
  conversation = (project: string, id: string) =>
    this.#get<StoredConversation>(`${at(project)}/conversations/${enc(id)}`);
  deleteConversation = (project: string, id: string) =>
    this.#send<void>("DELETE", `${at(project)}/conversations/${enc(id)}`);

  feedback = (conversation: string) => this.#list<Feedback>(`/feedback?conversation_id=${enc(conversation)}`);
  /** Null takes a mark back, and what is not named stays. */
  mark = (message: string, marks: Partial<Marks>) =>
    this.#send<Feedback>("PATCH", `/feedback/${enc(message)}`, marks);
  comparisons = (conversation: string) =>
    this.#list<Comparison>(`/feedback/comparisons?conversation_id=${enc(conversation)}`);

  /** Asks, and gives the run's events as they come. Aborting the signal closes the connection, which cancels the run. */
  async *chat(project: string, question: Question, signal: AbortSignal): AsyncGenerator<ChatEvent> {
    const headers = { Accept: "text/event-stream" };
    const response = await this.#fetch("POST", `${BASE}${at(project)}/chat`, question, signal, headers);
    if (!response.body) throw new Unreachable();
    for await (const { event, data } of events(response.body)) {
      yield { event, ...(JSON.parse(data) as object) } as ChatEvent;
    }
  }

  /** Per-dependency state. A 503 is an answer here, not an error: it says what is down. */
  async health(): Promise<Health> {
    const headers = { Authorization: `Bearer ${this.key}` };
    const response = await fetch("/health/ready", { headers, cache: "no-store" }).catch(() => null);
    if (!response) throw new Unreachable();
    return readHealth(await response.json().catch(() => ({})), response.ok);
  }

  /** For parts of the interface that only a screen of their own needs: ./traces and others. */
  get<T>(path: string): Promise<T> {
    return this.#get<T>(path);
  }

  send<T>(method: string, path: string, body?: unknown): Promise<T> {
    return this.#send<T>(method, path, body);
  }

  /** An answer that is a file. */
  async file(path: string): Promise<Blob> {
    return (await this.#fetch("GET", BASE + path)).blob();
  }

  #get<T>(path: string): Promise<T> {
    return this.#send<T>("GET", path);
  }

  async #list<T>(path: string): Promise<T[]> {
    return (await this.#get<{ items: T[] }>(path)).items;
  }

  async #send<T>(method: string, path: string, body?: unknown): Promise<T> {
    const response = await this.#fetch(method, BASE + path, body);
    const text = await response.text();
    return (text ? JSON.parse(text) : undefined) as T;
  }

  async #fetch(method: string, url: string, body?: unknown, signal?: AbortSignal, extra?: Record<string, string>) {
    const headers: Record<string, string> = { Authorization: `Bearer ${this.key}`, ...extra };
    if (body !== undefined) headers["Content-Type"] = "application/json";
    const init: RequestInit = { method, headers, cache: "no-store" };
    if (body !== undefined) init.body = JSON.stringify(body);
    if (signal) init.signal = signal;
    const response = await fetch(url, init).catch((problem: unknown) => {
      if (signal?.aborted) throw problem;
      throw new Unreachable();
    });
    if (!response.ok) throw errorFrom(response.status, await response.text());
    return response;
  }
}

const enc = encodeURIComponent;
const at = (project: string) => `/projects/${enc(project)}`;
