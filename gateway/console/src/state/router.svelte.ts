export type Screen = "home" | "chat" | "documents" | "databases" | "traces" | "annotate" | "models" | "system";
const OF_PROJECT: readonly string[] = ["documents", "databases", "traces", "annotate"];

/**
 * Where the reader is: `/p/<project>/<screen>[/<item>]`, `/models`, `/system`, or `/` before a project is known. `query` has
 * what narrows a list, so that a list can be linked to and comes back with the back button.
 */
class Router {
  path = $state(location.pathname);
  #search = $state(location.search);
  query = $derived(new URLSearchParams(this.#search));

  #parts = $derived(this.path.split("/").filter(Boolean).map(decodeURIComponent));
  screen: Screen = $derived.by(() => {
    const [first, , screen] = this.#parts;
    if (first === "system" || first === "models") return first;
    if (first !== "p") return "home";
    return OF_PROJECT.includes(screen ?? "") ? (screen as Screen) : "chat";
  });
  project = $derived(this.#parts[0] === "p" ? (this.#parts[1] ?? null) : null);
  item = $derived(this.#parts[0] === "p" ? (this.#parts[3] ?? null) : null);

  constructor() {
    addEventListener("popstate", () => this.#read());
  }

  /** `address` is a path, with a query where there is one. */
  go(address: string, replace = false): void {
    if (address === this.path + this.#search) return;
    history[replace ? "replaceState" : "pushState"](null, "", address);
    this.#read();
  }

  #read(): void {
    this.path = location.pathname;
    this.#search = location.search;
  }
}

export const router = new Router();

export function pathOf(project: string, screen: Exclude<Screen, "home" | "models" | "system">, item?: string | null): string {
  const tail = item ? `/${encodeURIComponent(item)}` : "";
  return `/p/${encodeURIComponent(project)}/${screen}${tail}`;
}

/** For links: a plain click stays in the page, a click with a modifier opens a tab as the browser would. */
export function follow(event: MouseEvent): void {
  if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey) return;
  const link = event.currentTarget as HTMLAnchorElement;
  event.preventDefault();
  const { pathname, search } = new URL(link.href);
  router.go(pathname + search);
}
