export type ThemeChoice = "system" | "light" | "dark";

const KEY = "loopyard.theme";
const systemDark = matchMedia("(prefers-color-scheme: dark)");

/** The reader's choice, kept in this browser; "system" follows the operating system as it changes. */
class Theme {
  choice = $state<ThemeChoice>(read());
  #system = $state(systemDark.matches);
  dark = $derived(this.choice === "system" ? this.#system : this.choice === "dark");

  constructor() {
    systemDark.addEventListener("change", (event) => (this.#system = event.matches));
  }

  choose(choice: ThemeChoice): void {
    this.choice = choice;
    if (choice === "system") delete document.documentElement.dataset["theme"];
    else document.documentElement.dataset["theme"] = choice;
    try {
      if (choice === "system") localStorage.removeItem(KEY);
      else localStorage.setItem(KEY, choice);
    } catch {
      // Storage is refused: the choice lasts as long as the page.
    }
  }
}

function read(): ThemeChoice {
  const chosen = document.documentElement.dataset["theme"];
  return chosen === "light" || chosen === "dark" ? chosen : "system";
}

export const theme = new Theme();
