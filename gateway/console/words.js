// How the console puts things into words, and into the page.

export const at = (id) => document.getElementById(id);

/** What this page can show to whoever looks at it. */
export async function consoleState() {
  const response = await fetch("/api/console", { cache: "no-store" });
  return response.ok ? response.json() : { listing: true, videos: false, uploads: false, transcoding: false, webhooks: false, accounts: false, account: null };
}

export function note(id, words, { wrong = false } = {}) {
  at(id).textContent = words;
  at(id).classList.toggle("wrong", wrong);
}

/** Whether what a link of a list leads to is open: a reader of the screen hears it, too. */
export function markOpen(link) {
  if (link.hash === location.hash) link.setAttribute("aria-current", "true");
  else link.removeAttribute("aria-current");
}

export function element(name, text, className = "") {
  const made = document.createElement(name);
  made.textContent = text;
  made.className = className;
  return made;
}

export async function inWords(response) {
  // The gateway explains itself (RFC 9457); what stands between may not.
  if (response.headers.get("content-type")?.startsWith("application/problem+json")) {
    const problem = await response.json().catch(() => ({}));
    if (problem.detail) return `${problem.detail} (${response.status})`;
  }
  const known = {
    401: "it asks for a sign-in.",
    403: "access is refused.",
    404: "there is no such object.",
    429: "the gateway is too busy; try again in a moment.",
    502: "the store behind the gateway failed.",
    503: "the gateway is too busy or starting; try again in a moment.",
    504: "the store behind the gateway did not answer in time.",
  };
  return `${known[response.status] ?? "the gateway answered"} (${response.status} ${response.statusText})`;
}

export function bytesInWords(bytes) {
  if (!Number.isFinite(bytes)) return "";
  const units = ["bytes", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  let amount = bytes;
  while (amount >= 1024 && unit < units.length - 1) {
    amount /= 1024;
    unit += 1;
  }
  return `${unit === 0 ? amount : amount.toFixed(1)} ${units[unit]}`;
}

export function dateInWords(when) {
  const date = new Date(when ?? NaN);
  return Number.isNaN(date.getTime()) ? "" : date.toLocaleDateString(undefined, { dateStyle: "medium" });
}
