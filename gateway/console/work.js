// What workers do with videos: in words, and live for as long as it is shown.

const FOLLOW_PAUSE_MS = 2000;
// A browser has six connections for all of the page; the others are asked for now and then.
const STREAMS_MAX = 2;
const KINDS = ["uploaded", "processing", "ready", "failed", "deleting", "changed", "probed"];

let streams = 0;

/** Where a video stands. `job` is its newest one, where that is known: after a failure it may be tried again. */
export function stateInWords({ state, problem, progress }, job = null) {
  if (state === "processing") return progress ? progressInWords(progress) : "processing";
  if (state !== "ready" && isOpen(job)) return job.state === "retry" ? "waits to be tried again" : "queued";
  return state === "failed" ? `failed: ${problem}` : state;
}

function progressInWords({ phase, percent, speed, eta_seconds }) {
  const words = [phase, `${percent} % done`];
  if (speed) words.push(`${speed.toFixed(1)}× as fast as it plays`);
  if (eta_seconds !== null && eta_seconds !== undefined) words.push(`${durationInWords(eta_seconds)} left`);
  return words.join(", ");
}

function durationInWords(seconds) {
  return seconds < 90 ? `${seconds} s` : `${Math.round(seconds / 60)} min`;
}

function isOpen(job) {
  return ["queued", "leased", "running", "waiting", "retry"].includes(job?.state);
}

/** A video's newest job, if somebody may know it. */
export async function newestJob(video) {
  const response = await fetch(`/api/videos/${video.id}/jobs`).catch(() => null);
  return response?.ok ? (await response.json()).jobs[0] ?? null : null;
}

/** Whether something is about to happen to it. */
export function isAtWork(video, job) {
  return video.state === "processing" || (video.state !== "ready" && isOpen(job));
}

/** Tells `onNews` what the video and its newest job are now, while `isShown()` and workers are at it, and of their end. */
export function follow(video, isShown, onNews) {
  if (streams < STREAMS_MAX && window.EventSource) followEvents(video, isShown, onNews);
  else followByAsking(video, isShown, onNews);
}

function followEvents(video, isShown, onNews) {
  streams += 1;
  const events = new EventSource(`/api/videos/${video.id}/events`);
  let isOver = false;
  const end = () => {
    if (isOver) return;
    isOver = true;
    streams -= 1;
    events.close();
    clearInterval(looking);
  };
  // A list that is read again has rows of its own.
  const looking = setInterval(() => !isShown() && end(), FOLLOW_PAUSE_MS);
  events.addEventListener("progress", (event) => {
    const { progress } = JSON.parse(event.data);
    if (isShown() && progress) onNews({ ...video, state: "processing", progress }, null);
  });
  const look = async () => {
    const now = await newest(video);
    if (isOver || !isShown()) return end();
    if (!now) return;
    if (!isAtWork(...now)) end();
    onNews(...now);
  };
  for (const kind of KINDS) events.addEventListener(kind, look);
  // The browser connects again by itself, unless it was refused.
  events.addEventListener("error", () => events.readyState === EventSource.CLOSED && end());
}

async function followByAsking(video, isShown, onNews) {
  for (let isOver = false; !isOver;) {
    await new Promise((resolve) => setTimeout(resolve, FOLLOW_PAUSE_MS));
    const now = await newest(video);
    if (!isShown()) return;
    if (!now) continue;
    isOver = !isAtWork(...now);
    onNews(...now);
  }
}

/** The video and its newest job, or null. The job is read first: one that has ended since has changed its video, too. */
export async function newest(video) {
  const job = await newestJob(video);
  const response = await fetch(`/api/videos/${video.id}`).catch(() => null);
  return response?.ok ? [await response.json(), job] : null;
}
