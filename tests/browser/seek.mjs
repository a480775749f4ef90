// A real browser opens the console, plays a video and seeks in it, while every media request on the wire is checked.
//
//   node seek.mjs http://127.0.0.1:8080/ [--key sample.mp4] [--screenshot FILE]
//
// Prints a line per check; the first one that does not hold ends the run with exit code 1. The video must be larger
// than a browser reads ahead (scripts/sample-video makes such a one): only then does a seek need a request of its own.

import { parseArgs } from "node:util";
import { Failed, STEP_MS, check, ok, startBrowser } from "./browser.mjs";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { key: { type: "string", default: "sample.mp4" }, screenshot: { type: "string" } },
});
if (positionals.length !== 1) {
  console.error("usage: node seek.mjs http://127.0.0.1:PORT/ [--key sample.mp4] [--screenshot FILE]");
  process.exit(2);
}
const home = new URL(positionals[0]);

// Where to seek, as shares of the duration: 58, 30, 45 and 20.5 s of 60. The end comes first, when nothing near it can
// have been read ahead; none is near the beginning, which the first request has brought already, and each later one
// is farther from the ones before than a browser buffers.
const SEEKS = [58 / 60, 30 / 60, 45 / 60, 20.5 / 60];
const NEAR_S = 0.25;
const ADVANCE_S = 0.5;
const TOLD_MAX = 12;

const media = []; // one per media response: what was asked and what was answered
const troubles = []; // what a person would find in the browser's own console
const answers = []; // media responses whose headers are still being read

// === The browser ===

async function openPage(browser) {
  const page = await browser.newPage({ viewport: { width: 1280, height: 900 } });
  page.setDefaultTimeout(STEP_MS);
  // The browser's own cache would answer the second request for a range; here the gateway must.
  const protocol = await page.context().newCDPSession(page);
  await protocol.send("Network.enable");
  await protocol.send("Network.setCacheDisabled", { cacheDisabled: true });

  page.on("console", (message) => {
    if (message.type() === "error") troubles.push(`console: ${message.text()} (${message.location().url})`);
  });
  page.on("pageerror", (error) => troubles.push(`script: ${error.stack}`));
  page.on("requestfailed", (request) => {
    // A player that seeks lets go of the response it was reading.
    const why = request.failure()?.errorText;
    if (!(isMedia(request) && why === "net::ERR_ABORTED")) troubles.push(`${request.method()} ${request.url()}: ${why}`);
  });
  page.on("response", (response) => {
    if (isMedia(response.request())) answers.push(note(response));
  });
  return page;
}

function isMedia(request) {
  return request.resourceType() === "media";
}

async function note(response) {
  const [asked, answered] = await Promise.all([response.request().allHeaders(), response.allHeaders()]);
  media.push({ range: asked.range, status: response.status(), headers: answered });
}

// === What is checked ===

async function theListShowsTheSample(page) {
  const response = await page.goto(home.href, { waitUntil: "load" });
  check(response.ok(), "the console loads", `${response.status()} at ${home.href}`);
  ok(`the console loads (${response.status()}, Content-Security-Policy: ${(await response.headerValue("content-security-policy")) ?? "none"})`);

  const row = sampleRow(page);
  await row.waitFor().catch(async () => {
    throw new Failed(`the library does not list ${values.key}; it says: ${await page.getByTestId("library-note").textContent()}`);
  });
  ok(`the library lists ${values.key}: ${(await row.innerText()).replaceAll("\n", " ")}`);

  await page.getByTestId("filter").fill("no-such-key");
  await page.getByText("No key starts with “no-such-key”.").waitFor();
  await page.getByTestId("filter").fill(values.key.slice(0, 3));
  await row.waitFor();
  ok("the filter asks the gateway for a prefix");
}

function sampleRow(page) {
  return page.locator(`[data-testid="object"][data-key=${JSON.stringify(values.key)}]`);
}

async function choosingItPlays(page) {
  await sampleRow(page).click();
  const duration = await inPlayer(page, "the metadata", () => {
    const video = document.querySelector("video");
    return video?.readyState >= 1 && video.duration;
  });
  return duration;
}

/** Seeks as the player's own bar does, and returns what the player was when it said that the seek is done. */
async function seek(page, to) {
  const after = await page.evaluate(async ({ to, patienceMs }) => {
    const video = document.querySelector("video");
    const began = performance.now();
    const done = new Promise((resolve) => {
      video.addEventListener("seeked", () => resolve({ at: video.currentTime, ready: video.readyState, ms: performance.now() - began }), { once: true });
      video.addEventListener("error", () => resolve({ error: video.error?.message ?? "unknown" }), { once: true });
      setTimeout(() => resolve({ error: `not done after ${patienceMs} ms` }), patienceMs);
    });
    video.currentTime = to;
    return done;
  }, { to, patienceMs: STEP_MS });
  check(!after.error, `the seek to ${to.toFixed(1)} s is done`, after.error);
  check(Math.abs(after.at - to) < NEAR_S, `the seek to ${to.toFixed(1)} s lands there`, `it is at ${after.at} s`);
  check(after.ready >= 2, `the seek to ${to.toFixed(1)} s has a picture`, `readyState is ${after.ready}`);
  return after;
}

/** Draws the picture that is shown: a blank one has one colour, and two places of the sample never look alike. */
async function picture(page) {
  const drawn = await page.evaluate(() => {
    const video = document.querySelector("video");
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [64, 36];
    const brush = canvas.getContext("2d");
    brush.drawImage(video, 0, 0, canvas.width, canvas.height);
    return Array.from(brush.getImageData(0, 0, canvas.width, canvas.height).data);
  });
  const colours = new Set();
  for (let i = 0; i < drawn.length; i += 4) colours.add((drawn[i] << 16) | (drawn[i + 1] << 8) | drawn[i + 2]);
  return { drawn, colours: colours.size };
}

/** The same once there is one: a browser may say "seeked" a moment before it can draw. */
async function drawnPicture(page) {
  const until = Date.now() + STEP_MS;
  for (;;) {
    const shown = await picture(page);
    if (shown.colours > 16 || Date.now() > until) return shown;
    await page.evaluate(() => new Promise(requestAnimationFrame));
  }
}

async function advances(page, from) {
  await inPlayer(page, `playing on from ${from.toFixed(1)} s`, (past) => {
    const video = document.querySelector("video");
    return !video.paused && video.currentTime > past;
  }, from + ADVANCE_S);
}

/** Waits until `holds`, which runs in the page, gives something true, and returns it. */
async function inPlayer(page, what, holds, value) {
  try {
    const handle = await page.waitForFunction(holds, value, { timeout: STEP_MS });
    return await handle.jsonValue();
  } catch (error) {
    const state = await page.evaluate(() => {
      const video = document.querySelector("video");
      return video ? `at ${video.currentTime} s, readyState ${video.readyState}, paused ${video.paused}, error ${video.error?.message ?? "none"}` : document.querySelector("#player-note")?.textContent;
    });
    throw new Failed(`${what}: ${error.message.split("\n")[0]} (${state})`);
  }
}

async function seeksShowTheirPicture(page, duration) {
  let before = null;
  for (const share of SEEKS) {
    const to = Math.round(duration * share * 10) / 10;
    const after = await seek(page, to);
    const shown = await drawnPicture(page);
    check(shown.colours > 16, `the picture at ${to} s is not blank`, `it has ${shown.colours} colours`);
    check(!before || before.some((byte, i) => Math.abs(byte - shown.drawn[i]) > 32), `the picture at ${to} s is another than before the seek`);
    await page.evaluate(() => document.querySelector("video").play());
    await advances(page, to);
    ok(`a seek to ${to} s: the picture after ${after.ms.toFixed(0)} ms, then it plays on`);
    before = shown.drawn;
  }
}

async function theArrowKeysSeek(page) {
  await page.evaluate(() => document.querySelector("video").pause());
  const from = await page.evaluate(() => document.querySelector("video").currentTime);
  await page.getByTestId("probe").focus();
  await page.keyboard.press("ArrowRight");
  await isAt(page, "the right arrow seeks 5 s", from + 5);
  await page.locator("video").focus();
  await page.keyboard.press("ArrowLeft");
  await isAt(page, "the left arrow seeks back, once", from);
  ok("the arrow keys seek by 5 s");
}

async function isAt(page, what, to) {
  await inPlayer(page, what, ({ to, near }) => {
    const video = document.querySelector("video");
    return !video.seeking && Math.abs(video.currentTime - to) < near;
  }, { to, near: NEAR_S });
}

async function theProbeShowsTheAnswer(page) {
  await page.getByTestId("probe").click();
  const shown = page.getByTestId("probe-answer");
  // Whole text: the byte positions beside it may hold these digits too.
  await shown.getByText("206 Partial Content", { exact: true }).waitFor();
  ok(`the probe shows the answer: ${(await shown.innerText()).replace(/\n+/g, " ")}`);
}

async function aLinkOpensIt(page) {
  await page.goto("about:blank");
  await page.goto(`${home.href}#${encodeURIComponent(values.key)}`);
  await inPlayer(page, "the link opens the video", () => {
    const video = document.querySelector("video");
    return video?.readyState >= 1 && video.paused;
  });
  ok("a link to the video opens it, and waits for a person to play it");
}

/** RFC 9110 §14.4 and §15.3.7: what each 206 must say about itself. */
async function everyMediaAnswerIsRight() {
  await Promise.all(answers);
  check(media.length > 0, "the player asked for media");
  const tags = new Set();
  for (const { range, status, headers } of media) {
    const asked = /^bytes=(\d+)-(\d*)$/.exec(range ?? "");
    check(asked, "a media request carries a Range of one part", range ?? "no Range");
    check(status === 206, `${range} is answered with 206`, status);
    const told = /^bytes (\d+)-(\d+)\/(\d+)$/.exec(headers["content-range"] ?? "");
    check(told, `${range} is answered with a Content-Range`, headers["content-range"] ?? "none");
    const [first, last, total] = told.slice(1).map(Number);
    const wantedLast = asked[2] === "" ? total - 1 : Math.min(Number(asked[2]), total - 1);
    check(first === Number(asked[1]) && last === wantedLast, `${range} is answered with that range`, told[0]);
    check(Number(headers["content-length"]) === last - first + 1, `${range} has the length of its range`, `Content-Length ${headers["content-length"]}, ${told[0]}`);
    check(/^"[^"]*"$/.test(headers.etag ?? ""), `${range} names its version with a strong ETag`, headers.etag ?? "none");
    tags.add(headers.etag);
  }
  check(tags.size === 1, "all media responses are of one version", [...tags].join(" "));
  ok(`${media.length} media requests, each with a Range, each answered by its 206 with Content-Range, Content-Length and one ETag`);
}

/** Bytes follow time closely in the sample's constant bit rate, so the place a seek asked for is known. */
function eachSeekAskedForItsPlace(duration) {
  const [, , totalBytes] = /-(\d+)\/(\d+)$/.exec(media[0].headers["content-range"]);
  const starts = media.map(({ range }) => Number(/\d+/.exec(range)[0]));
  for (const share of SEEKS) {
    const near = starts.some((start) => start > 0 && Math.abs(start / totalBytes - share) < 0.05);
    check(near, `the seek to ${(duration * share).toFixed(1)} s asked for a range there`, `ranges began at ${starts.join(", ")} of ${totalBytes}`);
  }
  ok(`each seek asked for its own place: ranges began at ${starts.join(", ")} of ${totalBytes}`);
}

// === The run ===

let browser;
let page;
let failed = false;
try {
  browser = await startBrowser();
  page = await openPage(browser);
  await theListShowsTheSample(page);
  const duration = await choosingItPlays(page);
  await seeksShowTheirPicture(page, duration);
  await everyMediaAnswerIsRight();
  eachSeekAskedForItsPlace(duration);
  await theArrowKeysSeek(page);
  await theProbeShowsTheAnswer(page);
  if (values.screenshot) await page.screenshot({ path: values.screenshot });
  await aLinkOpensIt(page);
  await everyMediaAnswerIsRight();
  check(troubles.length === 0, "the browser reports no errors", `${troubles.length} of them`);
  ok("the browser reports no errors and no failed requests");
} catch (error) {
  failed = true;
  console.log(`FAILED  ${error instanceof Failed ? error.message : error.stack}`);
  // A player that cannot read asks again and again; the first answers tell why.
  const wire = media.map(({ range, status, headers }) => `${range} -> ${status} ${headers["content-range"] ?? ""}`);
  for (const lines of [troubles, wire]) {
    for (const line of lines.slice(0, TOLD_MAX)) console.log(`        ${line}`);
    if (lines.length > TOLD_MAX) console.log(`        … and ${lines.length - TOLD_MAX} more`);
  }
  if (values.screenshot && page) await page.screenshot({ path: values.screenshot }).catch(() => {});
} finally {
  await browser?.close();
}
process.exit(failed ? 1 : 0);
