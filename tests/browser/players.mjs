// Real players in a real browser play what a real worker has made, from a page of another origin: they start, change the
// rendition, seek and come to the end, without an error and without having to mend anything.
//
//   node players.mjs http://127.0.0.1:8080/ PROFILE SOURCE SILENT
//
// SOURCE and SILENT are video files, with and without sound; the profile has several renditions. Prints a line for each
// player; exit code 1 if any of them did not do all of it.

import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { fileURLToPath } from "node:url";
import { ask, published, upload } from "./api.mjs";
import { Failed, STEP_MS, check, ok, startBrowser } from "./browser.mjs";

const [home, profile, source, silent] = process.argv.slice(2);

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

/** Of a published video: the addresses of its files, and how long its tracks are by the worker's own account. */
async function described({ playback }) {
  const file = (name) => new URL(name, new URL(playback.hls, home)).href;
  const { tracks } = await ask(file("receipt.json"));
  const end = (track) => track.start + track.duration;
  return {
    file,
    heights: playback.renditions.map(({ height }) => height).sort((a, b) => a - b),
    seconds: Math.max(...tracks.map(end)),
    secondsOf: (id) => end(tracks.find((track) => track.id === id)),
  };
}

function casesOf(whole, quiet) {
  const all = (video, hasSound) => ({ hasPicture: true, hasSound, heights: video.heights, seconds: video.seconds });
  const [best] = whole.heights.slice(-1);
  const streams = (video, name) => ({ HLS: video.file("master.m3u8"), DASH: video.file("manifest.mpd") })[name];
  const stream = (player, name, video, what) => ({ player, what: `${name}${what}`, url: streams(video, name), ...all(video, video === whole) });
  const sound = { hasPicture: false, hasSound: true, heights: [], seconds: whole.secondsOf("a0") };
  return [
    ["hls.js", "HLS"], ["Shaka", "HLS"], ["Shaka", "DASH"], ["dash.js", "DASH"],
  ].flatMap(([player, name]) => [stream(player, name, whole, ""), stream(player, name, quiet, " without sound")]).concat([
    { player: "hls.js", what: "HLS, sound alone", url: whole.file("a0.m3u8"), ...sound },
    { player: "Shaka", what: "HLS, sound alone", url: whole.file("a0.m3u8"), ...sound },
    { player: "<video>", what: "video.mp4", url: whole.file("video.mp4"), ...all(whole, true), heights: [best] },
    { player: "<video>", what: "one rendition", url: whole.file(`v${best}.mp4`), ...all(whole, false), heights: [best], seconds: whole.secondsOf(`v${best}`) },
    { player: "<video>", what: "the sound's file", url: whole.file("a0.mp4"), ...sound },
  ]);
}

// === What every player does ===

async function plays(browser, page, { player, what, url, heights, seconds, hasPicture, hasSound }) {
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
  if (isStream && heights.length > 1) {
    for (const height of [heights[0], heights[heights.length - 1]]) {
      await page.evaluate((height) => window.player.choose(height), height);
      await until(`it shows ${height} lines`, (height) => window.look().height === height && window.look().chosen === height, height);
    }
    const waits = await page.evaluate(() => window.waits);
    check(waits.length === 0, "it plays on while the rendition changes", waits.join("; "));
    const { buffered } = await look();
    check(buffered.length === 1, "renditions continue each other", JSON.stringify(buffered));
  } else if (hasPicture) {
    check((await look()).height === heights[heights.length - 1], "it has its height");
  }
  for (const share of [0.1, 0.6, 0.3]) await seek(share * seconds);
  await page.evaluate((to) => { document.querySelector("video").currentTime = to; }, seconds - 0.7);
  await until("it comes to its end", () => window.look().hasEnded);
  const end = await look();
  check(Math.abs(end.at - seconds) < 0.1, "its end is where it should be", `${end.at} s`);
  check(end.decoded.audio > 0 === hasSound, "it has sound if there is any", `${end.decoded.audio} bytes`);
  check(end.decoded.video > 0 === hasPicture, "it has pictures if there are any", `${end.decoded.video} bytes`);
  check(end.mended.length === 0, "it had nothing to mend", end.mended.join(", "));
  return `${player} ${offered.version}: ${what}, ${duration.toFixed(2)} s, ${offers.length || 1} rendition${offers.length > 1 ? "s" : ""}`;
}

/** The playlist of key frames is for going fast through a video. */
async function playsKeyFrames(page) {
  const asked = page.waitForRequest(/_iframes\.m3u8$/);
  await page.evaluate(() => {
    document.querySelector("video").currentTime = 0;
    document.querySelector("video").play();
    window.player.hurry(4);
  });
  await asked;
  await page.waitForFunction(() => !document.querySelector("video").seeking && window.look().at > 6, undefined, { polling: 50 });
  await page.evaluate(() => window.player.hurry(1));
  const { at } = await page.evaluate(() => window.look());
  await page.waitForFunction((at) => window.look().at > at + 0.4 || window.look().hasEnded, at, { polling: 50 });
}

/** A page for one player, what goes wrong in it, and whether it did everything. */
async function tried(browser, address, one) {
  const context = await browser.newContext();
  const page = await context.newPage();
  page.setDefaultTimeout(STEP_MS);
  const troubles = [];
  page.on("pageerror", (error) => troubles.push(`script: ${error.message}`));
  page.on("console", (message) => message.type() === "error" && troubles.push(`console: ${message.text()}`));
  page.on("response", (response) => response.status() >= 400 && troubles.push(`${response.status()} ${response.url()}`));
  const name = `${one.player}, ${one.what}`;
  try {
    await page.goto(address, { waitUntil: "load" });
    let did = await plays(browser, page, one);
    if (one.player === "Shaka" && one.what === "HLS") {
      await playsKeyFrames(page);
      did += ", and fast by its key frames";
    }
    troubles.push(...(await page.evaluate(() => window.troubles)));
    check(troubles.length === 0, "it reports no errors");
    ok(did);
    return true;
  } catch (error) {
    console.log(`FAILED  ${name}: ${error instanceof Failed ? error.message : error.stack}`);
    troubles.push(...(await page.evaluate(() => window.troubles ?? []).catch(() => [])));
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
  const uploaded = await Promise.all([source, silent].map((file) => upload(home, file, profile)));
  const cases = casesOf(...(await Promise.all(uploaded.map(async (url) => described(await published(url))))));
  ok("a worker has published both videos");
  [browser, server] = [await startBrowser(), await servePage()];
  const address = `http://127.0.0.1:${server.address().port}/`;
  // Side by side: most of the time they wait for time to pass.
  const done = await Promise.all(cases.map((one) => tried(browser, address, one)));
  failed = done.includes(false);
} catch (error) {
  console.log(`FAILED  ${error instanceof Failed ? error.message : error.stack}`);
} finally {
  await browser?.close();
  server?.close();
}
process.exit(failed ? 1 : 0);
