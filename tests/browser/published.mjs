// A real browser sees on the console what becomes of two videos, and plays the one that is published, by HLS.
//
//   node published.mjs http://127.0.0.1:8080/
//
// The first video is called "Good", the other "Bad". Whoever runs this is the worker: it goes on whenever a line says so.

import { Failed, STEP_MS, check, ok, startBrowser } from "./browser.mjs";

const home = new URL(process.argv[2]).href;
const troubles = [];
const asked = [];

const row = (page, title) => page.locator("#videos li").filter({ hasText: title });
const says = (page, title, words) => row(page, title).getByTestId("state").filter({ hasText: words }).waitFor();

async function openPage(browser) {
  const page = await browser.newPage({ viewport: { width: 1280, height: 900 } });
  page.setDefaultTimeout(STEP_MS);
  page.on("pageerror", (error) => troubles.push(`script: ${error.stack}`));
  page.on("console", (message) => message.type() === "error" && troubles.push(`console: ${message.text()}`));
  page.on("response", (response) => asked.push(`${response.status()} ${new URL(response.url()).pathname}`));
  await page.goto(home, { waitUntil: "load" });
  return page;
}

async function workIsShown(page) {
  for (const title of ["Good", "Bad"]) await says(page, title, "queued");
  ok("videos that wait say so");
  console.log("now process");
  await says(page, "Good", "transcoding, 40 % done, 1.5× as fast as it plays, 9 s left");
  await says(page, "Bad", "failed: It has no picture.");
  ok("what workers do is shown without asking again");
  await row(page, "Bad").getByTestId("try-again").click();
  await says(page, "Bad", "queued");
  ok("what has failed can be tried again");
  console.log("now publish");
  await says(page, "Good", "ready");
  ok("what is published says so");
}

async function itPlays(page) {
  await row(page, "Good").getByTestId("video").click();
  await page.getByTestId("media").waitFor();
  await page.waitForFunction(() => document.querySelector("video")?.currentTime > 0.5);
  const playing = await page.evaluate(() => {
    const { src, duration, poster, videoHeight } = document.querySelector("video");
    return { src, duration, poster, videoHeight };
  });
  check(playing.src.startsWith("blob:"), "hls.js plays it", playing.src);
  check(Math.abs(playing.duration - 6) < 0.5, "it is as long as it is", String(playing.duration));
  check(playing.poster.endsWith("/poster.jpg"), "it has its poster", playing.poster);
  check(asked.some((line) => /^20[06] .*processed.*\.m4s$/.test(line)), "segments come from the gateway");
  ok(`it plays by HLS, in ${playing.videoHeight} lines`);

  const quality = page.getByTestId("quality");
  check((await quality.locator("option").count()) === 3, "there are two qualities, and a choice of ours");
  for (const lines of [180, 360]) {
    await quality.selectOption({ label: await quality.locator("option").filter({ hasText: `${lines} lines` }).textContent() });
    await page.evaluate(() => { document.querySelector("video").currentTime = 0; document.querySelector("video").play(); });
    await page.waitForFunction((wanted) => document.querySelector("video").videoHeight === wanted, lines);
  }
  ok("the quality can be chosen");

  const bar = await page.getByTestId("buffered").boundingBox();
  await page.mouse.move(bar.x + bar.width * 0.75, bar.y + bar.height / 2);
  await page.getByTestId("picture").waitFor();
  const place = await page.getByTestId("picture").evaluate((picture) => picture.style.backgroundPosition);
  check(place === "-320px 0px", "the picture is of that time", place);
  await page.mouse.click(bar.x + bar.width * 0.75, bar.y + bar.height / 2);
  await page.waitForFunction(() => document.querySelector("video").currentTime > 4);
  ok("pictures show where a click seeks to");
  for (const kind of ["hls", "dash", "mp4"]) check(await page.getByTestId(`link-${kind}`).isVisible(), `there is a link: ${kind}`);
}

let browser;
let failed = false;
try {
  browser = await startBrowser();
  const page = await openPage(browser);
  await workIsShown(page);
  await itPlays(page);
  check(troubles.length === 0, "the browser reports no errors", `${troubles.length} of them`);
  ok("the browser reports no errors");
} catch (error) {
  failed = true;
  console.log(`FAILED  ${error instanceof Failed ? error.message : error.stack}`);
  for (const line of [...troubles, ...asked.slice(-20)]) console.log(`        ${line}`);
} finally {
  await browser?.close();
}
process.exit(failed ? 1 : 0);
