import type { IconName } from "../components/Icon.svelte";
import type { Step } from "../state/turn.svelte";

interface Words {
  icon: IconName;
  doing: string;
  done: string;
}

const TOOLS: Record<string, Words> = {
  rag_search: { icon: "search", doing: "Searching the documents", done: "Searched the documents" },
  rag_documents: { icon: "book", doing: "Listing the documents", done: "Listed the documents" },
  sql_query: { icon: "database", doing: "Querying the database", done: "Queried the database" },
  sql_describe: { icon: "table", doing: "Reading the schema", done: "Read the schema" },
};
const ROUTES: Record<string, string> = {
  documents: "The answer is in the documents",
  database: "The answer is in the database",
  both: "The answer needs documents and database",
  neither: "No look-up is needed",
};

function words(step: Step): Words {
  if (step.kind === "notice") return { icon: "alert", doing: step.text, done: step.text };
  if (step.kind === "route") {
    const said = ROUTES[step.route] ?? `Route: ${step.route}`;
    return { icon: "route", doing: said, done: said };
  }
  return TOOLS[step.name] ?? { icon: "tool", doing: `Running ${step.name}`, done: `Used ${step.name}` };
}

export const icon = (step: Step) => words(step).icon;
export const doing = (step: Step) => words(step).doing;
export const done = (step: Step) => words(step).done;
