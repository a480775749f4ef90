// The browser that both tests use.

import { spawnSync } from "node:child_process";
import { chromium } from "playwright-core";

// One step's patience. A passing run needs a fraction of it; a machine under load needs more than a person would wait.
export const STEP_MS = 30_000;

export class Failed extends Error {}

export function check(holds, what, detail = "") {
  if (!holds) throw new Failed(detail === "" ? what : `${what}: ${detail}`);
}

export function ok(what) {
  console.log(`ok      ${what}`);
}

/** The same names in the same order as scripts/setup. */
function browserPath() {
  const names = [process.env.CHROMIUM, "chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
  for (const name of names.filter(Boolean)) {
    const found = spawnSync("sh", ["-c", 'command -v "$1"', "sh", name], { encoding: "utf8" });
    if (found.status === 0) return found.stdout.trim();
  }
  throw new Failed("no Chromium here: scripts/setup test installs it, or CHROMIUM names its path");
}

export async function startBrowser() {
  // Playwright makes a profile folder of its own for each launch and removes it.
  return chromium.launch({
    executablePath: browserPath(),
    timeout: STEP_MS,
    args: [
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
}
