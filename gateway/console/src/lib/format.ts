const count = new Intl.NumberFormat();
const figures = new Intl.NumberFormat(undefined, { maximumFractionDigits: 20 });
const relative = new Intl.RelativeTimeFormat(undefined, { numeric: "auto", style: "short" });
const day = new Intl.DateTimeFormat(undefined, { dateStyle: "medium" });
const moment = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

export const whole = (value: number) => count.format(value);
export const exact = (value: number) => figures.format(value);
export const plural = (value: number, one: string, many = `${one}s`) => `${whole(value)} ${value === 1 ? one : many}`;

export function bytes(size: number): string {
  const units = ["B", "kB", "MB", "GB"];
  let value = size;
  let unit = 0;
  for (; value >= 1000 && unit < units.length - 1; unit += 1) value /= 1000;
  return `${value.toFixed(value < 10 && unit > 0 ? 1 : 0)} ${units[unit]}`;
}

export function duration(ms: number): string {
  if (ms < 1) return "<1 ms";
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`;
  return `${Math.floor(ms / 60_000)} min ${Math.round((ms % 60_000) / 1000)} s`;
}

/** US dollars; a small sum with the digits that say something. */
export function money(dollars: number): string {
  if (dollars === 0) return "$0";
  if (dollars < 0.01) return `$${Number(dollars.toPrecision(2)).toFixed(Math.min(10, 1 - Math.floor(Math.log10(dollars))))}`;
  return `$${dollars.toFixed(dollars < 1 ? 3 : 2)}`;
}

export function ago(date: string): string {
  const seconds = (Date.parse(date) - Date.now()) / 1000;
  if (Number.isNaN(seconds)) return "";
  if (seconds > -45) return "just now";
  if (seconds > -3600) return relative.format(Math.round(seconds / 60), "minute");
  if (seconds > -86_400) return relative.format(Math.round(seconds / 3600), "hour");
  if (seconds > -7 * 86_400) return relative.format(Math.round(seconds / 86_400), "day");
  return day.format(new Date(date));
}

export const when = (date: string) => (Number.isNaN(Date.parse(date)) ? "" : moment.format(new Date(date)));

/** The heading that a conversation stands under in the list. */
export function age(date: string, now = new Date()): string {
  const midnight = new Date(now.getFullYear(), now.getMonth(), now.getDate()).getTime();
  const at = Date.parse(date);
  if (Number.isNaN(at) || at >= midnight) return "Today";
  if (at >= midnight - 86_400_000) return "Yesterday";
  if (at >= midnight - 7 * 86_400_000) return "Last seven days";
  return "Earlier";
}

/** Where a passage stands: its section, its page, or both. */
export function place(page: number | null, section: string | null): string {
  return [section, page === null ? null : `page ${page}`].filter(Boolean).join(" · ");
}
