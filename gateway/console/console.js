// The console: lists what the gateway can play and plays it, with nothing between the browser's own player and
// the range requests it makes. What the delivery panel shows is measured here or read from a response, never
// guessed. Objects are listed in library.js, videos and uploads in videos.js, accounts in account.js.

import { beginAccount } from "/assets/account.js";
import { beginLibrary, listObjects, listedObject } from "/assets/library.js";
import { play } from "/assets/player.js";
import { beginVideos, listVideos } from "/assets/videos.js";
import { beginWebhooks, showWebhooks } from "/assets/webhooks.js";
import { at, bytesInWords, consoleState, element, inWords, markOpen, note } from "/assets/words.js";

const SEEK_S = 5;
const SEEK_FAR_S = 30;
const PROBE_BYTES = 64 * 1024;
/** No key begins so. */
const VIDEOS = "/videos/";

let current = null; // the open object
let media = null; // its <video> or <audio>
let playWhenOpen = false; // a person chose it, so it may make a sound
let seekBegan = null;
let endPlaying = () => {}; // of what is published, which is more than a file

// === The open object ===

async function openFromAddress() {
  const key = keyInAddress();
  if (!key || key === current?.key) return;
  close();
  current = listedObject(key) ?? { key, url: mediaUrl(key) };
  const opened = current;
  at("title").textContent = key;
  document.querySelectorAll(".object").forEach(markOpen);
  if (!current.type) {
    note("player-note", "Opening…");
    const failure = key.startsWith(VIDEOS) ? await learnVideo(opened) : await learn(opened);
    if (current !== opened) return;
    if (failure) return note("player-note", failure, { wrong: true });
  }
  at("title").textContent = opened.title ?? key;
  document.title = `${opened.title ?? key} – Seekway`;
  at("download").href = `${opened.url}?download=1`;
  at("download").hidden = false;
  show();
}

/** A published video is opened by its id: what plays of it is another address each time it is processed. */
async function learnVideo(opened) {
  try {
    const response = await fetch(`/api${opened.key}`);
    if (!response.ok) return `The video cannot be opened: ${await inWords(response)}`;
    const { title, url, size, content_type: type, playback } = await response.json();
    Object.assign(opened, { title, url, size, type: type ?? "video/mp4", playback });
    return null;
  } catch (error) {
    return `The video cannot be opened: the gateway did not answer (${error.message}).`;
  }
}

/** A deep link can name an object that is on no listed page: HEAD tells what the list would have. */
async function learn(object) {
  try {
    const response = await fetch(object.url, { method: "HEAD" });
    if (!response.ok) return `“${object.key}” cannot be opened: ${await inWords(response)}`;
    object.type = response.headers.get("content-type") ?? "application/octet-stream";
    object.size = Number(response.headers.get("content-length"));
    return null;
  } catch (error) {
    return `“${object.key}” cannot be opened: the gateway did not answer (${error.message}).`;
  }
}

function close() {
  endPlaying();
  endPlaying = () => {};
  if (media) {
    // Without this the browser keeps downloading for a player that nobody sees.
    media.removeAttribute("src");
    media.load();
  }
  media = null;
  current = null;
  seekBegan = null;
  at("stage").replaceChildren();
  at("probe-answer").replaceChildren();
  at("seek-latency").textContent = "–";
  for (const id of ["stage", "position", "delivery"]) at(id).hidden = true;
}

function show() {
  const kind = current.playback ? "video" : kindOf(current.type);
  note("player-note", "");
  at("size").textContent = bytesInWords(current.size);
  at("type").textContent = current.type;
  at("delivery").hidden = false;
  if (kind === "file") {
    note("player-note", `The browser has no player for ${current.type}. It can be downloaded.`);
  } else if (kind === "image") {
    const image = new Image();
    image.alt = current.key;
    image.dataset.testid = "media";
    image.addEventListener("error", () => explainFailure("The picture could not be shown."));
    image.src = current.url;
    stage(image);
  } else {
    stage(player(kind));
    at("position").hidden = false;
    showPosition();
    // What is published comes to the player only later.
    if (playWhenOpen && current.playback) media.autoplay = true;
    else if (playWhenOpen) media.play().catch(() => {});
  }
  playWhenOpen = false;
}

function stage(shown) {
  at("stage").replaceChildren(shown);
  at("stage").hidden = false;
}

function player(kind) {
  const element = document.createElement(kind);
  element.controls = true;
  element.preload = "metadata";
  element.playsInline = true;
  element.dataset.testid = "media";
  element.setAttribute("aria-label", current.key);
  for (const event of ["timeupdate", "progress", "durationchange", "loadeddata"]) {
    element.addEventListener(event, showPosition);
  }
  element.addEventListener("seeking", () => {
    seekBegan ??= performance.now();
    showPosition();
  });
  element.addEventListener("seeked", () => {
    if (seekBegan !== null) at("seek-latency").textContent = `${Math.round(performance.now() - seekBegan)} ms`;
    seekBegan = null;
    showPosition();
  });
  element.addEventListener("error", () => {
    // What is published is mended by what plays it, if it can be.
    if (media === element && element.error && !element.src.startsWith("blob:")) explainFailure(mediaErrorInWords(element.error));
  });
  media = element;
  const tell = (words) => media === element && note("player-note", words, { wrong: true });
  if (current.playback) endPlaying = play(element, current.playback, tell);
  else element.src = current.url;
  return element;
}

/** The player's own error does not tell a missing object from a broken one, so the gateway is asked again. */
async function explainFailure(what) {
  const failed = current;
  const answer = await learn({ key: failed.key, url: failed.url });
  if (current !== failed) return;
  note("player-note", answer ?? `${what} The gateway itself answers for it, so the file may be damaged or of a kind this browser cannot play.`, { wrong: true });
}

function showPosition() {
  if (!media) return;
  const { duration, currentTime, buffered } = media;
  const known = Number.isFinite(duration) && duration > 0;
  at("time").textContent = known ? `${clock(currentTime)} / ${clock(duration)}` : clock(currentTime);
  if (!known) return;
  const marks = [];
  const words = [];
  for (let i = 0; i < buffered.length; i += 1) {
    const [from, to] = [buffered.start(i), buffered.end(i)];
    const mark = document.createElement("span");
    mark.style.left = `${(from / duration) * 100}%`;
    mark.style.width = `${((to - from) / duration) * 100}%`;
    marks.push(mark);
    words.push(`${clock(from)} to ${clock(to)}`);
  }
  const here = element("span", "", "here");
  here.style.left = `${(currentTime / duration) * 100}%`;
  at("buffered").replaceChildren(...marks, here);
  at("buffered").setAttribute("aria-label", words.length ? `Buffered: ${words.join(", ")}` : "Nothing is buffered yet");
}

// === The delivery panel ===

/** Asks for a range near what is on the screen; the byte is in proportion to the time, which is close enough to see a hit. */
async function probe() {
  const asked = current;
  if (!asked) return;
  const share = media && media.duration > 0 ? media.currentTime / media.duration : 0;
  const first = Math.min(Math.floor(asked.size * share), Math.max(asked.size - 1, 0));
  const range = `bytes=${first}-${first + PROBE_BYTES - 1}`;
  const began = performance.now();
  try {
    // The browser's own cache would answer for the gateway.
    const response = await fetch(asked.url, { headers: { Range: range }, cache: "no-store" });
    const headersMs = performance.now() - began;
    const body = await response.arrayBuffer();
    const bodyMs = performance.now() - began;
    if (current !== asked) return;
    const header = (name) => response.headers.get(name);
    showAnswer([
      ["Asked", range],
      ["Status", `${response.status} ${response.statusText}`],
      ["Headers after", `${headersMs.toFixed(1)} ms`],
      ["All after", `${bodyMs.toFixed(1)} ms, ${bytesInWords(body.byteLength)}`],
      ["Content-Range", header("content-range")],
      ["Cache-Status", header("cache-status")],
      ["Server-Timing", header("server-timing")],
      ["ETag", header("etag")],
    ]);
  } catch (error) {
    if (current === asked) showAnswer([["Asked", range], ["Failed", error.message]]);
  }
}

function showAnswer(pairs) {
  at("probe-answer").replaceChildren(...pairs.filter(([, value]) => value).map(([name, value]) => {
    const pair = document.createElement("div");
    pair.append(element("dt", name), element("dd", value));
    return pair;
  }));
}

// === Words ===

function mediaErrorInWords(error) {
  return {
    [MediaError.MEDIA_ERR_NETWORK]: "The download broke off.",
    [MediaError.MEDIA_ERR_DECODE]: "The file could not be decoded.",
    [MediaError.MEDIA_ERR_SRC_NOT_SUPPORTED]: "This could not be played.",
  }[error.code] ?? "Playing failed.";
}

function clock(seconds) {
  // Tenths first, so that 59.96 reads 1:00.0 and never 0:60.0.
  const tenths = Math.round(seconds * 10);
  const [h, m, s] = [Math.floor(tenths / 36000), Math.floor(tenths / 600) % 60, (tenths % 600) / 10];
  const padded = s.toFixed(1).padStart(4, "0");
  return h ? `${h}:${String(m).padStart(2, "0")}:${padded}` : `${m}:${padded}`;
}

function kindOf(type) {
  const [family] = type.split("/");
  return ["video", "audio", "image"].includes(family) ? family : "file";
}

function keyInAddress() {
  const raw = location.hash.slice(1);
  try {
    return decodeURIComponent(raw);
  } catch {
    return raw; // typed by hand with a bare %
  }
}

function mediaUrl(key) {
  return `/media/${key.split("/").map(encodeURIComponent).join("/")}`;
}

// === What a person does ===

at("probe").addEventListener("click", probe);
for (const id of ["videos", "objects"]) {
  at(id).addEventListener("click", (event) => {
    const link = event.target.closest("a");
    if (!link) return;
    playWhenOpen = true;
    // The address does not change when it is open already, so no hashchange would come.
    if (link.hash === location.hash) media?.play().catch(() => {});
  });
}

function onKey(event) {
  const direction = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (!direction || !media || event.ctrlKey || event.altKey || event.metaKey) return;
  if (event.target.closest("input, textarea, select")) return;
  event.preventDefault();
  event.stopPropagation();
  const to = media.currentTime + direction * (event.shiftKey ? SEEK_FAR_S : SEEK_S);
  media.currentTime = Math.min(Math.max(to, 0), Number.isFinite(media.duration) ? media.duration : Infinity);
}
// On the way down: a focused player acts on the arrow keys itself, and one press is one seek.
document.addEventListener("keydown", onKey, { capture: true });
window.addEventListener("hashchange", openFromAddress);

const state = await consoleState();
const again = () => Promise.all([state.listing && listObjects(), state.videos && listVideos()]);
const asSomebodyElse = () => Promise.all([again(), showWebhooks()]);
const library = beginLibrary(() => {
  playWhenOpen = true;
});
await Promise.all([library, beginVideos(state, again), beginWebhooks(state), beginAccount(state, asSomebodyElse)]);
await openFromAddress();
