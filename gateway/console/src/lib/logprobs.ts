import type { Logprobs, ScoredToken } from "../api/traces";

/** Shares are from 0 to 1. */
export const share = (logprob: number) => Math.min(1, Math.exp(logprob));

/** Almost sure is not sure, and hardly possible is not impossible. */
export function percent(logprob: number): string {
  const value = share(logprob) * 100;
  if (value > 99.9 && logprob < 0) return ">99.9 %";
  if (value < 0.1) return "<0.1 %";
  return `${value.toFixed(value < 10 ? 1 : 0)} %`;
}

/** How strongly a token is tinted, from 0 (sure) to 4 (nearly a guess). */
export const doubt = (logprob: number) => [0.9, 0.6, 0.3, 0.1].filter((sure) => share(logprob) < sure).length;

/** A token as it is named apart from its text: white space has no shape of its own. */
export const named = (token: string) => token.replace(/\n/g, "↵").replace(/\t/g, "⇥").replace(/ /g, "␣");

/** What else could have stood there: not the token itself. */
export const others = (one: ScoredToken) => one.top_logprobs.filter((other) => other.token !== one.token);

/** The geometric mean of the tokens' probabilities, as a logarithm. */
export const mean = (scored: Logprobs) => scored.content.reduce((sum, one) => sum + one.logprob, 0) / scored.content.length;
