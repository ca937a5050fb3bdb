export interface Toast {
  id: number;
  tone: "ok" | "bad" | "info";
  text: string;
}

const LIFE_MS = { ok: 4_000, info: 5_000, bad: 9_000 };

/** Short notices at the edge of the page. Nothing that must be acted on is only here. */
class Toasts {
  items = $state<Toast[]>([]);
  #next = 1;

  show(text: string, tone: Toast["tone"] = "info"): void {
    const id = this.#next++;
    this.items.push({ id, tone, text });
    setTimeout(() => this.dismiss(id), LIFE_MS[tone]);
  }

  dismiss(id: number): void {
    this.items = this.items.filter((toast) => toast.id !== id);
  }
}

export const toasts = new Toasts();
