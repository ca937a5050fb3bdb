import { Client } from "../api/client";
import { Unauthorised } from "../api/errors";
import type { Me } from "../api/types";

const KEY = "loopyard.key";

/** The signed-in key, held for this tab only: sessionStorage ends with the tab and no cookie carries it. */
class Session {
  client = $state.raw<Client | null>(null);
  me = $state.raw<Me | null>(null);
  notice = $state("");

  constructor() {
    const kept = sessionStorage.getItem(KEY);
    if (kept) this.client = new Client(kept);
  }

  /** Checks the key with the gateway before keeping it. Rejects with the reason. */
  async signIn(key: string): Promise<void> {
    const client = new Client(key.trim());
    this.me = await client.me();
    sessionStorage.setItem(KEY, client.key);
    this.notice = "";
    this.client = client;
  }

  signOut(notice = ""): void {
    sessionStorage.removeItem(KEY);
    this.client = null;
    this.me = null;
    this.notice = notice;
  }

  /** The client of the signed-in reader, for code that only runs signed in. */
  get api(): Client {
    if (!this.client) throw new Error("Nobody is signed in.");
    return this.client;
  }

  /** A key that was revoked while the page was open leads back to the door. Gives true if that was it. */
  ended(problem: unknown): boolean {
    if (!(problem instanceof Unauthorised)) return false;
    this.signOut("The key is no longer accepted. Sign in again.");
    return true;
  }
}

export const session = new Session();
