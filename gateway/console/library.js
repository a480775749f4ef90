// The library: the store's objects by their keys, for as far as this gateway lists them.

import { at, bytesInWords, dateInWords, element, inWords, markOpen, note } from "/assets/words.js";

const PAGE_OBJECTS = 100;
const FILTER_PAUSE_MS = 200;
/** What workers make: some twenty files of each video, which are shown only to those who filter for them. */
const PROCESSED = "processed/";
/** Keys after this one are after all of those: a slash is followed by a zero. */
const AFTER_PROCESSED = "processed0";

const listed = new Map(); // key → what the API said about it
let next = null; // where the following page begins
let listing = null; // aborts the request that a newer one replaces

/** What the list said of an object, if it is on it. */
export function listedObject(key) {
  return listed.get(key);
}

/** Reads a page, the first one or the one after. */
export async function listObjects({ after = null } = {}) {
  listing?.abort();
  const mine = new AbortController();
  listing = mine;
  at("more").disabled = true;
  const query = new URLSearchParams({ prefix: at("filter").value, limit: PAGE_OBJECTS });
  if (after) query.set("after", after);
  try {
    const response = await fetch(`/api/objects?${query}`, { signal: mine.signal });
    if (response.status === 404) {
      showNoListing("Listing is switched off on this gateway.");
    } else if (response.status === 403) {
      showNoListing("The store does not let this gateway list its objects.");
    } else if (!response.ok) {
      note("library-note", `The library could not be read: ${await inWords(response)}`, { wrong: true });
    } else {
      showPage(await response.json(), { append: Boolean(after) });
      // All of it was hidden: what follows may be all that there is.
      if (listed.size === 0 && next === AFTER_PROCESSED) await listObjects({ after: next });
    }
  } catch (error) {
    if (error.name === "AbortError") return;
    note("library-note", `The library could not be read: the gateway did not answer (${error.message}).`, { wrong: true });
  } finally {
    if (listing === mine) at("more").disabled = false;
  }
}

function showPage(page, { append }) {
  if (!append) {
    at("objects").replaceChildren();
    listed.clear();
  }
  const isAskedFor = at("filter").value.startsWith(PROCESSED);
  const shown = page.objects.filter(({ key }) => isAskedFor || !key.startsWith(PROCESSED));
  for (const object of shown) {
    listed.set(object.key, object);
    at("objects").append(row(object));
  }
  next = page.next ?? null;
  if (next !== null && shown.at(-1) !== page.objects.at(-1)) next = AFTER_PROCESSED;
  at("more").hidden = next === null;
  if (listed.size > 0) return note("library-note", "");
  const filter = at("filter").value;
  note("library-note", filter
    ? `No key starts with “${filter}”.`
    : "The library is empty.\nCopy a video into the media folder (./data/media, or the one LOCAL_STORAGE_DIR names), or put an object into the S3 bucket, then reload this page.");
}

/** Listing is the operator's choice; a known key plays all the same, so the filter box becomes a way to open one. */
function showNoListing(why) {
  at("objects").replaceChildren();
  at("more").hidden = true;
  at("filter-label").textContent = "Key to open";
  at("open-key").hidden = false;
  note("library-note", `${why} An object whose key you know still plays.`);
}

function row(object) {
  const link = document.createElement("a");
  link.className = "object";
  link.href = `#${encodeURIComponent(object.key)}`;
  link.dataset.testid = "object";
  link.dataset.key = object.key;
  markOpen(link);

  const nameStart = object.key.lastIndexOf("/") + 1;
  const folder = element("span", object.key.slice(0, nameStart), "folder");
  const facts = [bytesInWords(object.size), shortType(object.type), dateInWords(object.last_modified)];
  link.append(folder, object.key.slice(nameStart), element("span", facts.filter(Boolean).join(" · "), "facts"));

  const item = document.createElement("li");
  item.append(link);
  return item;
}

function shortType(type) {
  return (type ?? "").split(";")[0];
}

/** Lists what there is. `onOpen` hears when somebody opens a key that is on no list. */
export async function beginLibrary(onOpen) {
  let timer = null;
  at("filter").addEventListener("input", () => {
    if (!at("open-key").hidden) return; // it holds a key now, not a filter
    clearTimeout(timer);
    timer = setTimeout(() => listObjects(), FILTER_PAUSE_MS);
  });
  at("filter-form").addEventListener("submit", (event) => {
    event.preventDefault();
    if (at("open-key").hidden) return;
    onOpen();
    location.hash = encodeURIComponent(at("filter").value);
  });
  at("more").addEventListener("click", () => listObjects({ after: next }));
  await listObjects();
}
