// Videos: those that the gateway's catalog knows, and uploading new ones. All of it is hidden where there is no catalog.

import { Refused, forget, upload } from "/assets/tus.js";
import { follow, isAtWork, newest, newestJob, stateInWords } from "/assets/work.js";
import { at, bytesInWords, dateInWords, element, inWords, note } from "/assets/words.js";

const PAGE_VIDEOS = 50;
const SEARCH_PAUSE_MS = 200;
const VISIBILITIES = [["private", "only me"], ["unlisted", "who has the address"], ["public", "everybody"]];

let next = null;
let listing = null;
/** Whether videos are processed here. */
let transcoding = false;
/** Lists again all that an upload or a deletion changes. */
let listAgain = listVideos;

/** Reads a page, the first one or the one after. */
export async function listVideos({ after = null } = {}) {
  listing?.abort();
  const mine = new AbortController();
  listing = mine;
  const query = new URLSearchParams({ search: at("search").value, limit: PAGE_VIDEOS });
  if (after) query.set("after", after);
  try {
    const response = await fetch(`/api/videos?${query}`, { signal: mine.signal });
    if (!response.ok) return note("videos-note", `Videos could not be read: ${await inWords(response)}`, { wrong: true });
    const page = await response.json();
    if (!after) at("videos").replaceChildren();
    at("videos").append(...page.videos.map(row));
    next = page.next;
    at("more-videos").hidden = next === null;
    const empty = at("search").value ? "No video has these words in its title." : "There are no videos yet.";
    note("videos-note", at("videos").childElementCount > 0 ? "" : empty);
  } catch (error) {
    if (error.name !== "AbortError") note("videos-note", `Videos could not be read: ${error.message}.`, { wrong: true });
  }
}

function row(video) {
  const link = element("a", video.title, "object");
  // What is published plays as that, anything else as it was uploaded.
  const published = video.playback && encodeURIComponent(`/videos/${video.id}`);
  link.href = `#${published ?? video.url.slice("/media/".length).split("/").map((part) => encodeURIComponent(decodeURIComponent(part))).join("%2F")}`;
  link.dataset.testid = "video";
  link.dataset.key = decodeURIComponent(video.url.slice("/media/".length));
  const facts = element("span", factsOf(video), "facts");
  const state = element("span", stateInWords(video), "state");
  state.dataset.testid = "state";
  state.dataset.state = video.state;
  link.append(facts, state);

  const visibility = document.createElement("select");
  visibility.dataset.testid = "visibility";
  visibility.setAttribute("aria-label", `Who may see “${video.title}”`);
  for (const [value, words] of VISIBILITIES) visibility.append(new Option(words, value, false, value === video.visibility));
  visibility.addEventListener("change", () => change(video, { visibility: visibility.value }));

  const remove = element("button", "Delete");
  remove.type = "button";
  remove.dataset.testid = "delete";
  remove.addEventListener("click", async () => {
    if (!confirm(`Delete “${video.title}” for good?`)) return;
    const response = await fetch(`/api/videos/${video.id}`, { method: "DELETE" });
    if (!response.ok) note("videos-note", `It was not deleted: ${await inWords(response)}`, { wrong: true });
    else await listAgain();
  });

  const item = document.createElement("li");
  const actions = element("div", "", "actions");
  actions.append(visibility, remove);
  item.append(link, actions);
  if (transcoding || video.state === "processing") showWork(video, item, state, actions);
  return item;
}

function factsOf({ size, container, created }) {
  return [bytesInWords(size), container, dateInWords(created)].filter(Boolean).join(" · ");
}

/** Shows what workers do with a video for as long as its row is shown. */
async function showWork(video, item, state, actions) {
  const known = ["uploaded", "failed"].includes(video.state) ? await newest(video) : null;
  const [now, job] = known ?? [video, null];
  if (known && now.state === "ready") return item.replaceWith(row(now));
  video = now;
  state.dataset.state = video.state;
  state.textContent = stateInWords(video, job);
  if (!isAtWork(video, job)) {
    if (video.state === "failed") actions.append(tryAgain(video, item));
    return;
  }
  follow(video, () => item.isConnected, (now, job) => {
    // What has come to an end has another row.
    if (!isAtWork(now, job)) return item.replaceWith(row(now));
    state.dataset.state = now.state;
    state.textContent = stateInWords(now, job);
  });
}

function tryAgain(video, item) {
  const button = element("button", "Try again");
  button.type = "button";
  button.dataset.testid = "try-again";
  button.addEventListener("click", async () => {
    const dead = await newestJob(video);
    const headers = { "Content-Type": "application/json" };
    const response = dead
      ? await fetch(`/api/jobs/${dead.id}/redrive`, { method: "POST" })
      : await fetch(`/api/videos/${video.id}/jobs`, { method: "POST", headers, body: "{}" });
    if (!response.ok) return note("videos-note", `It is not tried again: ${await inWords(response)}`, { wrong: true });
    item.replaceWith(row(video));
  });
  return button;
}

async function change(video, patch) {
  const headers = { "Content-Type": "application/json" };
  const response = await fetch(`/api/videos/${video.id}`, { method: "PATCH", headers, body: JSON.stringify(patch) });
  if (!response.ok) note("videos-note", `It was not changed: ${await inWords(response)}`, { wrong: true });
  else note("videos-note", "");
}

// === Uploading ===

async function take(file) {
  const item = element("li", "", "upload");
  item.dataset.testid = "upload";
  const bar = document.createElement("progress");
  bar.max = Math.max(file.size, 1);
  const state = element("span", "waiting", "facts");
  const stop = element("button", "Stop");
  stop.type = "button";
  item.append(element("span", file.name), bar, state, stop);
  at("uploads").append(item);

  const ending = new AbortController();
  stop.addEventListener("click", () => ending.abort());
  const onProgress = ({ offset, lost }) => {
    if (offset !== undefined) bar.value = offset;
    state.textContent = lost ? "the connection is lost; trying again" : `${bytesInWords(bar.value)} of ${bytesInWords(file.size)}`;
  };
  try {
    await upload(file, { title: file.name.replace(/\.[^.]+$/, ""), signal: ending.signal, onProgress });
    item.remove();
    await listAgain();
  } catch (error) {
    if (ending.signal.aborted) {
      await forget(file);
      return item.remove();
    }
    state.textContent = error instanceof Refused ? error.message : `It failed: ${error.message}`;
    item.classList.add("wrong");
    stop.textContent = "Close";
    stop.addEventListener("click", () => item.remove());
  }
}

export async function beginVideos(state, onChange) {
  listAgain = onChange;
  transcoding = state.transcoding;
  at("videos-section").hidden = !state.videos;
  at("drop").hidden = !state.uploads;
  if (!state.videos) return;
  let timer = null;
  at("search").addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => listVideos(), SEARCH_PAUSE_MS);
  });
  at("search-form").addEventListener("submit", (event) => event.preventDefault());
  at("more-videos").addEventListener("click", () => listVideos({ after: next }));
  at("file").addEventListener("change", () => {
    for (const file of at("file").files) take(file);
    at("file").value = "";
  });
  const zone = at("drop");
  zone.addEventListener("dragover", (event) => {
    event.preventDefault();
    zone.classList.add("over");
  });
  for (const name of ["dragleave", "drop"]) zone.addEventListener(name, () => zone.classList.remove("over"));
  zone.addEventListener("drop", (event) => {
    event.preventDefault();
    for (const file of event.dataTransfer.files) take(file);
  });
  await listVideos();
}
