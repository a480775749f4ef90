// What workers do with videos: in words, and live for as long as it is shown.

const FOLLOW_PAUSE_MS = 2000;
// A browser has six connections for all of the page; the others are asked for now and then.
const STREAMS_MAX = 2;
const KINDS = ["uploaded", "processing", "ready", "failed", "deleting", "changed", "probed"];

let streams = 0;

/** Where a video stands. `job` is the state of its newest job, where that is known. */
export function stateInWords({ state, problem, progress }, job = null) {
  if (state === "processing") return progress ? progressInWords(progress) : "processing";
  if (state === "failed") return `failed: ${problem}`;
  if (state === "uploaded" && isOpen(job)) return job === "retry" ? "waits to be tried again" : "queued";
  return state;
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
  return ["queued", "leased", "running", "retry"].includes(job);
}

/** The state of a video's newest job, if somebody may know it. */
export async function newestJob(video) {
  const response = await fetch(`/api/videos/${video.id}/jobs`).catch(() => null);
  return response?.ok ? (await response.json()).jobs[0] ?? null : null;
}

/** Whether something is about to happen to it. */
export function isAtWork(video, job) {
  return video.state === "processing" || (video.state === "uploaded" && isOpen(job));
}

/** Tells `onVideo` what the video is whenever it is another, while `isShown()` and workers are at it. */
export function follow(video, job, isShown, onVideo) {
  if (streams < STREAMS_MAX && window.EventSource) followEvents(video, isShown, onVideo);
  else followByAsking(video, job, isShown, onVideo);
}

function followEvents(video, isShown, onVideo) {
  streams += 1;
  const events = new EventSource(`/api/videos/${video.id}/events`);
  const end = () => {
    if (events.readyState !== EventSource.CLOSED) streams -= 1;
    events.close();
    clearInterval(looking);
  };
  // A list that is read again has rows of its own.
  const looking = setInterval(() => !isShown() && end(), FOLLOW_PAUSE_MS);
  events.addEventListener("progress", (event) => {
    const { progress } = JSON.parse(event.data);
    if (isShown() && progress) onVideo({ ...video, state: "processing", progress });
  });
  const again = async () => {
    const now = await get(video);
    if (!isShown()) return end();
    if (!now) return;
    onVideo(now);
    if (!["uploaded", "processing"].includes(now.state)) end();
  };
  for (const kind of KINDS) events.addEventListener(kind, again);
  events.addEventListener("error", () => {
    // The browser connects again by itself, unless it was refused.
    if (events.readyState !== EventSource.CLOSED) return;
    streams -= 1;
    clearInterval(looking);
  });
}

async function followByAsking(video, job, isShown, onVideo) {
  for (let now = video; isAtWork(now, job);) {
    await new Promise((resolve) => setTimeout(resolve, FOLLOW_PAUSE_MS));
    if (!isShown()) return;
    now = (await get(video)) ?? now;
    onVideo(now);
  }
}

async function get(video) {
  const response = await fetch(`/api/videos/${video.id}`).catch(() => null);
  return response?.ok ? response.json() : null;
}
