/** What the polite live region says next. Streaming hands it whole sentences, never single tokens. */
class Live {
  text = $state("");

  say(text: string): void {
    if (text) this.text = text;
  }
}

export const live = new Live();
