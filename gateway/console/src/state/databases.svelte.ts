import { sentence } from "../api/errors";
import type { Database, DatabaseSchema, QueryResult } from "../api/types";
import { perProject } from "./per-project";
import { session } from "./session.svelte";
import { workspace } from "./workspace.svelte";

/** A project's databases; each one's schema and SQL desk are made when it is opened. */
export class Databases {
  items = $state.raw<Database[]>([]);
  loaded = $state(false);
  problem = $state("");
  #desks = new Map<string, Desk>();

  constructor(readonly project: string) {}

  async load(): Promise<void> {
    try {
      this.items = await session.api.databases(this.project);
      this.problem = "";
      this.loaded = true;
    } catch (problem) {
      if (!session.ended(problem)) this.problem = sentence(problem);
    }
  }

  async add(name: string, url: string): Promise<Database> {
    const made = await session.api.addDatabase(this.project, name, url);
    this.items = [...this.items.filter((one) => one.id !== made.id), made];
    void workspace.refreshProjects();
    return made;
  }

  async remove(database: Database): Promise<void> {
    await session.api.deleteDatabase(this.project, database.name);
    this.items = this.items.filter((one) => one.id !== database.id);
    this.#desks.delete(database.name);
    void workspace.refreshProjects();
  }

  desk(name: string): Desk {
    const desk = this.#desks.get(name) ?? new Desk(this.project, name);
    this.#desks.set(name, desk);
    return desk;
  }
}

/** One database opened: its schema, the statement being written, and the last result. */
export class Desk {
  schema = $state.raw<DatabaseSchema | null>(null);
  schemaProblem = $state("");
  sql = $state("");
  result = $state.raw<QueryResult | null>(null);
  problem = $state("");
  running = $state(false);

  constructor(
    readonly project: string,
    readonly name: string,
  ) {}

  async load(): Promise<void> {
    if (this.schema) return;
    this.schemaProblem = "";
    try {
      this.schema = await session.api.schema(this.project, this.name);
      const first = this.schema.tables[0];
      if (first && !this.sql) this.look(first.name);
    } catch (problem) {
      if (!session.ended(problem)) this.schemaProblem = sentence(problem);
    }
  }

  look(table: string): void {
    const name = /^[A-Za-z_]\w*$/.test(table) ? table : `"${table.replaceAll('"', '""')}"`;
    this.sql = `SELECT * FROM ${name} LIMIT 20`;
  }

  async run(): Promise<void> {
    if (this.running || !this.sql.trim()) return;
    this.running = true;
    this.problem = "";
    try {
      this.result = await session.api.query(this.project, this.name, this.sql);
    } catch (problem) {
      if (!session.ended(problem)) this.problem = sentence(problem);
    } finally {
      this.running = false;
    }
  }
}

/** One list a project, so that a statement half written is still there on the way back. */
export const databasesOf = perProject((project) => new Databases(project));
