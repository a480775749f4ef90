// The gateway's API, as the tests ask it.

import { readFileSync } from "node:fs";
import { basename } from "node:path";
import { STEP_MS, check } from "./browser.mjs";

async function ask(url, options) {
  const response = await fetch(url, options);
  check(response.ok, `${options?.method ?? "GET"} ${url}`, `${response.status} ${await response.clone().text()}`);
  return response.json();
}

/** Uploads a file that is to be processed by `profile`, and returns the video's address in the API. */
export async function upload(home, file, profile) {
  const body = new FormData();
  body.set("profile", profile);
  body.set("file", new Blob([readFileSync(file)], { type: "video/mp4" }), basename(file));
  const { id } = await ask(new URL("/api/videos", home), { method: "POST", body });
  return new URL(`/api/videos/${id}`, home);
}

/** Waits until a worker has published it, and shows it to everybody. */
export async function published(url) {
  const until = Date.now() + 3 * STEP_MS;
  for (;;) {
    const { state, problem } = await ask(url);
    if (state === "ready") break;
    check(state !== "failed" && Date.now() < until, "it is processed", `${state}: ${problem}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  const body = JSON.stringify({ visibility: "public" });
  return ask(url, { method: "PATCH", headers: { "Content-Type": "application/json" }, body });
}

export { ask };
