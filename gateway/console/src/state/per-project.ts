import { session } from "./session.svelte";

/** One object a project, made when first wanted and dropped when another key signs in. */
export function perProject<T>(make: (project: string) => T): (project: string) => T {
  let owner: unknown = null;
  let made = new Map<string, T>();
  return (project) => {
    if (owner !== session.client) made = new Map();
    owner = session.client;
    const found = made.get(project) ?? make(project);
    made.set(project, found);
    return found;
  };
}
