// Uploads in pieces that survive a lost connection and a closed page (tus 1.0, https://tus.io/protocols/resumable-upload).

const PIECE_BYTES = 16 * 1024 * 1024; // lost and sent again at most, where nothing between keeps what came
const RETRY_MS = [500, 1000, 2000, 5000, 10000]; // then every ten seconds, as long as the page is open
const TUS = { "Tus-Resumable": "1.0.0" };

/** The server's word that trying again will not help. */
export class Refused extends Error {}

/**
 * Uploads a file and returns the path of the video it became. A file that was begun before goes on where it was.
 * `onProgress` is told bytes that are safe or under way, and whether the connection is lost just now.
 */
export async function upload(file, { title, signal, onProgress }) {
  const remembered = `upload ${file.name} ${file.size} ${file.lastModified}`;
  let place = localStorage.getItem(remembered);
  for (let failures = 0; ; ) {
    try {
      place ??= await create(file, title, signal);
      localStorage.setItem(remembered, place);
      let at = await committed(place, signal);
      if (at === null) {
        localStorage.removeItem(remembered);
        place = null;
        continue;
      }
      while (!at.video) {
        at = await append(place, file, at.offset, signal, (offset) => onProgress({ offset, lost: false }));
        failures = 0;
      }
      localStorage.removeItem(remembered);
      return at.video;
    } catch (error) {
      if (error instanceof Refused) localStorage.removeItem(remembered);
      if (error instanceof Refused || signal.aborted) throw error;
      onProgress({ lost: true });
      await pause(RETRY_MS[Math.min(failures, RETRY_MS.length - 1)], signal);
      failures += 1;
    }
  }
}

/** Gives up what was begun, here and there. */
export async function forget(file) {
  const remembered = `upload ${file.name} ${file.size} ${file.lastModified}`;
  const place = localStorage.getItem(remembered);
  localStorage.removeItem(remembered);
  if (place) await fetch(place, { method: "DELETE", headers: TUS }).catch(() => {});
}

async function create(file, title, signal) {
  const metadata = [["filename", file.name], ["title", title]].map(([name, value]) => `${name} ${base64(value)}`);
  const headers = { ...TUS, "Upload-Length": String(file.size), "Upload-Metadata": metadata.join(",") };
  const response = await fetch("/api/uploads", { method: "POST", headers, signal });
  if (response.status !== 201) throw await failure(response);
  return response.headers.get("location");
}

/** How far it is; null when nobody knows it any more. */
async function committed(place, signal) {
  const response = await fetch(place, { method: "HEAD", headers: TUS, signal, cache: "no-store" });
  if ([403, 404, 410].includes(response.status)) return null;
  if (!response.ok) throw await failure(response);
  return where(response.headers);
}

/** Sends a piece. Of `fetch` nobody hears how far it is, so this is the older interface. */
function append(place, file, offset, signal, onProgress) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("PATCH", place);
    request.setRequestHeader("Tus-Resumable", "1.0.0");
    request.setRequestHeader("Upload-Offset", String(offset));
    request.setRequestHeader("Content-Type", "application/offset+octet-stream");
    request.upload.addEventListener("progress", (event) => onProgress(offset + event.loaded));
    request.addEventListener("error", () => reject(new Error("the connection was lost")));
    request.addEventListener("abort", () => reject(new DOMException("given up", "AbortError")));
    request.addEventListener("load", () => {
      const headers = new Headers();
      for (const name of ["upload-offset", "content-location"]) {
        const value = request.getResponseHeader(name);
        if (value !== null) headers.set(name, value);
      }
      if (request.status === 204) return resolve(where(headers));
      failure(new Response(request.responseText, { status: request.status })).then(reject, reject);
    });
    const stop = () => request.abort();
    signal.addEventListener("abort", stop, { once: true });
    request.addEventListener("loadend", () => signal.removeEventListener("abort", stop));
    request.send(file.slice(offset, offset + PIECE_BYTES));
  });
}

function where(headers) {
  return { offset: Number(headers.get("upload-offset")), video: headers.get("content-location") };
}

async function failure(response) {
  const problem = await response.json().catch(() => ({}));
  const words = problem.detail ?? `The gateway answered ${response.status}.`;
  // Somebody else's piece came first, or the gateway is busy: what is safe is asked for, and sending goes on there.
  const passes = response.status >= 500 || [408, 409, 423, 429].includes(response.status);
  return passes ? new Error(words) : new Refused(words);
}

function pause(ms, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    window.addEventListener("online", resolve, { once: true });
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(new DOMException("given up", "AbortError"));
    }, { once: true });
  });
}

function base64(text) {
  return btoa(String.fromCharCode(...new TextEncoder().encode(text)));
}
