import type { Client } from "./client";

/** Shapes of /api/v1/models-registry and of /api/v1/models. */

export interface Version {
  name: string;
  version: string;
  /** `adapter`, which can be deployed, or another thing that was trained. */
  kind: string;
  digest: string;
  aliases: string[];
  created_at: string;
  base: string | null;
  parent: string | null;
  pairs: number;
  bytes: number;
}

export interface Model {
  name: string;
  aliases: Record<string, string>;
  versions: Version[];
}

/** What rlhf's report.json says of the gate; a report of another shape is shown as it is. */
export interface Report {
  decision?: { verdict?: string; reasons?: string[]; checks?: { name: string; passed: boolean; detail: string }[] };
}

export interface VersionDetail extends Version {
  lineage: Record<string, unknown>;
  report: (Report & Record<string, unknown>) | null;
  served: boolean | null;
}

export interface Lineage {
  traces: { trace_id: string }[];
  users: string[];
  children: string[];
}

/** A model that could answer chats; `base` is what an adapter is put on. */
export interface Served {
  id: string;
  base: string | null;
  answers_chats: boolean;
}

/** What agents that name no model are answered by; `problem` says why it is not what is wanted. */
export interface Chats {
  model: string | null;
  wanted: string;
  source: "setting" | "choice" | "server";
  problem: string | null;
}

/** How the live version of an adapter answers, beside what answered in the days before it. */
export interface Quality {
  name: string;
  version: string;
  state: "unknown" | "ok" | "watch" | "worse";
  reason: string;
  began: string | null;
  cut: boolean;
}

const BASE = "/models-registry";
const enc = encodeURIComponent;
const at = ({ name, digest }: Version) => `${BASE}/${enc(name)}/versions/${enc(digest)}`;

export const listModels = async (client: Client) => (await client.get<{ items: Model[] }>(BASE)).items;
export const listQuality = async (client: Client) => (await client.get<{ items: Quality[] }>("/quality")).items;
export const getVersion = (client: Client, version: Version) => client.get<VersionDetail>(at(version));
export const getLineage = (client: Client, version: Version) => client.get<Lineage>(`${at(version)}/lineage`);
/** Answers when the version is live, or says why it is not: it is compared with what it was trained as first. */
export const deploy = (client: Client, { name, digest }: Version, chats: boolean) =>
  client.send<unknown>("POST", `${BASE}/${enc(name)}/deploy?wait=true`, { version: digest, chats });
export const rollback = (client: Client, name: string) => client.send<unknown>("POST", `${BASE}/${enc(name)}/rollback`);
export const listServed = async (client: Client) => (await client.get<{ items: Served[] }>("/models")).items;
export const getChats = (client: Client) => client.get<Chats>("/models/chats");
/** Null lets the model server's first chat model answer. */
export const useModel = (client: Client, model: string | null) => client.send<Chats>("PUT", "/models/chats", { model });
