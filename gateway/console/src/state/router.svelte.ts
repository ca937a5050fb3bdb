export type Screen = "home" | "chat" | "documents" | "databases" | "system";

/** Where the reader is: `/p/<project>/<screen>[/<item>]`, `/system`, or `/` before a project is known. */
class Router {
  path = $state(location.pathname);

  #parts = $derived(this.path.split("/").filter(Boolean).map(decodeURIComponent));
  screen: Screen = $derived.by(() => {
    const [first, , screen] = this.#parts;
    if (first === "system") return "system";
    if (first !== "p") return "home";
    return screen === "documents" || screen === "databases" ? screen : "chat";
  });
  project = $derived(this.#parts[0] === "p" ? (this.#parts[1] ?? null) : null);
  item = $derived(this.#parts[0] === "p" ? (this.#parts[3] ?? null) : null);

  constructor() {
    addEventListener("popstate", () => (this.path = location.pathname));
  }

  go(path: string, replace = false): void {
    if (path === this.path) return;
    history[replace ? "replaceState" : "pushState"](null, "", path);
    this.path = path;
  }
}

export const router = new Router();

export function pathOf(project: string, screen: Exclude<Screen, "home" | "system">, item?: string | null): string {
  const tail = item ? `/${encodeURIComponent(item)}` : "";
  return `/p/${encodeURIComponent(project)}/${screen}${tail}`;
}

/** For links: a plain click stays in the page, a click with a modifier opens a tab as the browser would. */
export function follow(event: MouseEvent): void {
  if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey) return;
  const link = event.currentTarget as HTMLAnchorElement;
  event.preventDefault();
  router.go(new URL(link.href).pathname);
}
