const END = /[.!?؟。…](?=["')\]]*\s)|\n/g;
const LONGEST = 240;

/** Gathers streamed text and gives it out whole sentences at a time, so that a screen reader is not interrupted. */
export class Sentences {
  #waiting = "";

  push(text: string): string {
    this.#waiting += text;
    let cut = 0;
    for (const end of this.#waiting.matchAll(END)) cut = end.index + end[0].length;
    // Thai has no mark at the end of a sentence: a long run is cut at its last space.
    if (cut === 0 && this.#waiting.length > LONGEST) cut = this.#waiting.lastIndexOf(" ") + 1 || LONGEST;
    return this.#take(cut);
  }

  flush(): string {
    return this.#take(this.#waiting.length);
  }

  #take(length: number): string {
    const spoken = this.#waiting.slice(0, length).trim();
    this.#waiting = this.#waiting.slice(length);
    return spoken;
  }
}
