// Real players in a real browser play what a real worker has made, from a page of another origin: they start, change the
// rendition, seek and come to the end, without an error and without having to mend anything.
//
//   node players.mjs http://127.0.0.1:8080/ VIDEO...
//
// The first video has pictures and sound, the others may lack either; the gateway's own profile has several renditions.
// Prints a line for each player; exit code 1 if any of them did not do all of it.

import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { basename } from "node:path";
import { fileURLToPath } from "node:url";
import { ask, published, upload } from "./api.mjs";
import { Failed, STEP_MS, check, ok, startBrowser } from "./browser.mjs";

const [home, ...files] = process.argv.slice(2);

// === The page ===

const module = (path) => fileURLToPath(new URL(`node_modules/${path}`, import.meta.url));
const PAGE = `<!doctype html><title>Players</title><link rel="icon" href="data:,"><video controls playsinline></video>
  <script src="${new URL("/assets/hls-1.7.4.min.js", home)}"></script>
  <script src="/shaka.js"></script><script src="/dash.js"></script><script src="/players-page.js"></script>`;
const FILES = {
  "/shaka.js": module("shaka-player/dist/shaka-player.compiled-es2021.js"),
  "/dash.js": module("dashjs/dist/modern/umd/dash.all.min.js"),
  "/players-page.js": fileURLToPath(new URL("players-page.js", import.meta.url)),
};

function servePage() {
  const server = createServer(({ url }, response) => {
    const isPage = url === "/";
    if (!isPage && !FILES[url]) return response.writeHead(404).end();
    response.setHeader("Content-Type", `text/${isPage ? "html" : "javascript"}; charset=utf-8`);
    response.end(isPage ? PAGE : readFileSync(FILES[url]));
  });
  return new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(server)));
}

// === What is played ===

/** What a published video has: its files, and how long they play by the worker's own account. */
async function described({ playback }, what) {
  const file = (name) => new URL(name, new URL(playback.hls, home)).href;
  const { tracks } = await ask(file("receipt.json"));
  const end = (track) => track.start + track.duration;
  return {
    what,
    heights: playback.renditions.map(({ height }) => height).sort((a, b) => a - b),
    hasPicture: playback.renditions.length > 0,
    hasSound: playback.has_audio,
    seconds: Math.max(...tracks.map(end)),
    file,
    secondsOf: (id) => end(tracks.find((track) => track.id === id)),
  };
}

function casesOf(videos) {
  const streams = [["hls.js", "master.m3u8"], ["Shaka", "master.m3u8"], ["Shaka", "manifest.mpd"], ["dash.js", "manifest.mpd"]];
  const [whole] = videos;
  const best = whole.heights.at(-1);
  // One file, which may be only a part of the video.
  const alone = (name, id, parts) => ({ ...whole, player: "<video>", name, url: whole.file(name), seconds: whole.secondsOf(id), heights: [best], ...parts });
  return [
    ...videos.flatMap((video) => streams.map(([player, name]) => ({ ...video, player, name, url: video.file(name) }))),
    { ...alone("video.mp4", "a0"), seconds: whole.seconds },
    alone(`v${best}.mp4`, `v${best}`, { hasSound: false }),
    alone("a0.mp4", "a0", { hasPicture: false, heights: [] }),
  ];
}

// === What every player does ===

async function plays(page, { player, name, what, url, heights, seconds, hasPicture, hasSound }) {
  const look = () => page.evaluate(() => window.look());
  const until = async (words, holds, value) => {
    try {
      await page.waitForFunction(holds, value, { polling: 50, timeout: STEP_MS });
    } catch (error) {
      throw new Failed(`${words}: ${error.message.split("\n")[0]} (${JSON.stringify(await look())})`);
    }
  };
  const advances = (words, from) => until(words, (from) => window.look().at > from && window.look().hasPicture, from + 0.4);
  const seek = async (to) => {
    await page.evaluate((to) => { document.querySelector("video").currentTime = to; }, to);
    await advances(`it plays on at ${to} s`, to);
  };

  const offered = await page.evaluate(([player, url]) => window.load(player, url), [player, url]);
  const offers = [...offered.heights].sort((a, b) => a - b).filter(Boolean);
  const isStream = player !== "<video>";
  if (isStream) check(String(offers) === String(heights), "it offers all renditions", `${offers} and not ${heights}`);
  await page.evaluate(() => document.querySelector("video").play());
  await advances("it starts", 0);
  const { duration } = await look();
  check(Math.abs(duration - seconds) < 0.1, "it is as long as the worker says", `${duration} s and not ${seconds} s`);

  await page.evaluate(() => { window.waits = []; });
  if (isStream && hasPicture) {
    for (const height of [heights[0], heights.at(-1)]) {
      await page.evaluate((height) => window.player.choose(height), height);
      await until(`it shows ${height} lines`, (height) => window.look().height === height && window.look().chosen === height, height);
    }
    const waits = await page.evaluate(() => window.waits);
    check(waits.length === 0, "it plays on while the rendition changes", waits.join("; "));
    const { buffered } = await look();
    check(buffered.length === 1, "renditions continue each other", JSON.stringify(buffered));
  } else if (hasPicture) {
    check((await look()).height === heights.at(-1), "it has its height");
  }
  // None is where a segment ends: dash.js was once seen to stop there, with no request under way.
  for (const share of [0.13, 0.63, 0.34]) await seek(share * seconds);
  await page.evaluate((to) => { document.querySelector("video").currentTime = to; }, seconds - 0.7);
  await until("it comes to its end", () => window.look().hasEnded);
  const end = await look();
  check(Math.abs(end.at - seconds) < 0.1, "its end is where it should be", `${end.at} s`);
  check(end.decoded.audio > 0 === hasSound, "it has sound if there is any", `${end.decoded.audio} bytes`);
  check(end.decoded.video > 0 === hasPicture, "it has pictures if there are any", `${end.decoded.video} bytes`);
  check(end.mended.length === 0, "it had nothing to mend", end.mended.join(", "));
  return `${player} ${offered.version}: ${name} of ${what}, ${duration.toFixed(2)} s${offers.length ? `, ${offers.join(", ")} lines` : ""}`;
}

/** A page for one player, what goes wrong in it, and whether it did everything. */
async function tried(browser, address, one) {
  const context = await browser.newContext();
  const page = await context.newPage();
  page.setDefaultTimeout(STEP_MS);
  const troubles = [];
  const underWay = new Set();
  page.on("request", (request) => underWay.add(request));
  for (const end of ["requestfinished", "requestfailed"]) page.on(end, (request) => underWay.delete(request));
  page.on("pageerror", (error) => troubles.push(`script: ${error.message}`));
  page.on("console", (message) => message.type() === "error" && troubles.push(`console: ${message.text()}`));
  page.on("response", (response) => response.status() >= 400 && troubles.push(`${response.status()} ${response.url()}`));
    try {
    await page.goto(address, { waitUntil: "load" });
    const did = await plays(page, one);
    troubles.push(...(await page.evaluate(() => window.troubles)));
    check(troubles.length === 0, "it reports no errors");
    ok(did);
    return true;
  } catch (error) {
    console.log(`FAILED  ${one.player}, ${one.name} of ${one.what}: ${error instanceof Failed ? error.message : error.stack}`);
    troubles.push(...(await page.evaluate(() => window.troubles ?? []).catch(() => [])));
    troubles.push(...Array.from(underWay, (request) => `not answered yet: ${request.url()} ${request.headers().range ?? ""}`));
    for (const line of new Set(troubles)) console.log(`        ${line}`);
    return false;
  } finally {
    await context.close();
  }
}

let browser;
let server;
let failed = true;
try {
  const uploaded = await Promise.all(files.map(async (file) => [await upload(home, file), basename(file)]));
  const videos = await Promise.all(uploaded.map(async ([url, name]) => described(await published(url), name)));
  ok(`a worker has published ${videos.length} videos`);
  [browser, server] = [await startBrowser(), await servePage()];
  const address = `http://127.0.0.1:${server.address().port}/`;
  // Side by side: most of the time they wait for time to pass.
  const done = await Promise.all(casesOf(videos).map((one) => tried(browser, address, one)));
  failed = done.includes(false);
} catch (error) {
  console.log(`FAILED  ${error instanceof Failed ? error.message : error.stack}`);
} finally {
  await browser?.close();
  server?.close();
}
process.exit(failed ? 1 : 0);
