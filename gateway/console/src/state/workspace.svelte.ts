import { sentence } from "../api/errors";
import type { Agent, ConversationSummary, Project } from "../api/types";
import { pathOf, router } from "./router.svelte";
import { session } from "./session.svelte";

const AGENT_KEY = "loopyard.agent";

/** What the shell shows around every screen: projects, agents, and the conversations of the open project. */
class Workspace {
  projects = $state.raw<Project[]>([]);
  agents = $state.raw<Agent[]>([]);
  conversations = $state.raw<ConversationSummary[]>([]);
  ready = $state(false);
  problem = $state("");
  agentName = $state(read(AGENT_KEY));

  #begun = 0;
  #listed = "";
  #last = $state(read("loopyard.project"));
  project: Project | null = $derived.by(() => {
    const wanted = router.project ?? this.#last;
    const found = this.projects.find((one) => one.name === wanted || one.id === wanted);
    // An address that names a project is not answered with another one.
    return found ?? (router.project ? null : (this.projects[0] ?? null));
  });
  agent: Agent | null = $derived(this.agents.find((one) => one.name === this.agentName) ?? this.agents[0] ?? null);

  async load(): Promise<void> {
    this.problem = "";
    try {
      const api = session.api;
      const [me, projects, agents] = await Promise.all([session.me ?? api.me(), api.projects(), api.agents()]);
      session.me = me;
      this.projects = projects;
      this.agents = agents;
      this.ready = true;
      if (router.screen === "home" && this.project) router.go(pathOf(this.project.name, "chat"), true);
    } catch (problem) {
      if (!session.ended(problem)) this.problem = sentence(problem);
    }
  }

  async refreshProjects(): Promise<void> {
    this.projects = await session.api.projects().catch(() => this.projects);
  }

  async refreshConversations(): Promise<void> {
    const project = this.project;
    if (!project) return;
    if (this.#listed !== project.id) this.conversations = [];
    this.#listed = project.id;
    const begun = this.#begun;
    const found = await session.api.conversations(project.name).catch(() => null);
    if (!found || this.project?.id !== project.id) return;
    // A list that was read before a conversation began does not know it: it is read again.
    if (begun !== this.#begun) return this.refreshConversations();
    this.conversations = found;
  }

  /** Puts a conversation that has just begun at the top, before the gateway's list is read again. */
  begun(id: string, title: string, agent: string): void {
    this.#begun += 1;
    const now = new Date().toISOString();
    const rest = this.conversations.filter((one) => one.id !== id);
    const known = this.conversations.find((one) => one.id === id);
    this.conversations = [{ created_at: now, title, id, agent, ...known, updated_at: now }, ...rest];
  }

  async deleteConversation(id: string): Promise<void> {
    if (!this.project) return;
    await session.api.deleteConversation(this.project.name, id);
    this.conversations = this.conversations.filter((one) => one.id !== id);
  }

  remember(project: Project): void {
    this.#last = project.name;
    keep("loopyard.project", project.name);
  }

  chooseAgent(name: string): void {
    this.agentName = name;
    keep(AGENT_KEY, name);
  }

  reset(): void {
    this.ready = false;
    this.projects = [];
    this.agents = [];
    this.conversations = [];
    this.problem = "";
  }
}

function read(key: string): string {
  try {
    return localStorage.getItem(key) ?? "";
  } catch {
    return "";
  }
}

function keep(key: string, value: string): void {
  try {
    localStorage.setItem(key, value);
  } catch {
    // Storage is refused: the choice lasts as long as the page.
  }
}

export const workspace = new Workspace();
