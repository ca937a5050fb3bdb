import DOMPurify from "dompurify";

const TAGS = (
  "a blockquote br button code dd del div dl dt em h3 h4 h5 h6 hr li mark ol p pre s span strong sub sup " +
  "table tbody td th thead tr ul"
).split(" ");
// Every other attribute's value must look like a safe address, or DOMPurify takes it for a hidden one.
const PLAIN = "aria-label class colspan data-cite dir rel role rowspan start tabindex target title type".split(" ");

/**
 * The one door to `{@html}`: an allow-list of tags and attributes. No style, no picture (a picture's address can carry
 * words of the conversation to another host), no form but our own citation buttons, no address but http(s) and mailto.
 */
export function clean(html: string): string {
  return DOMPurify.sanitize(html, {
    ALLOWED_TAGS: TAGS,
    ALLOWED_ATTR: ["href", ...PLAIN],
    ADD_URI_SAFE_ATTR: PLAIN,
    ALLOWED_URI_REGEXP: SAFE_ADDRESS,
    ALLOW_DATA_ATTR: false,
    ALLOW_ARIA_ATTR: false,
  });
}

export const SAFE_ADDRESS = /^(?:https?:\/\/|mailto:)/i;

const ENTITIES: Record<string, string> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };

export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (found) => ENTITIES[found] ?? found);
}
