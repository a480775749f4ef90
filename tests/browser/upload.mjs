// A real browser signs up on the console, uploads a video over a connection that is cut, plays it, shows it to everybody
// and deletes it.
//
//   node upload.mjs http://127.0.0.1:8080/ VIDEO [--screenshot FILE]
//
// Prints a line per check; the first one that does not hold ends the run with exit code 1.

import { basename } from "node:path";
import { parseArgs } from "node:util";
import { Failed, STEP_MS, check, ok, startBrowser } from "./browser.mjs";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { screenshot: { type: "string" } },
});
if (positionals.length !== 2) {
  console.error("usage: node upload.mjs http://127.0.0.1:PORT/ VIDEO [--screenshot FILE]");
  process.exit(2);
}
const [home, file] = [new URL(positionals[0]).href, positionals[1]];
const title = basename(file).replace(/\.[^.]+$/, "");
const troubles = [];

async function openPage(browser) {
  const page = await browser.newPage({ viewport: { width: 1280, height: 900 } });
  page.setDefaultTimeout(STEP_MS);
  page.on("pageerror", (error) => troubles.push(`script: ${error.stack}`));
  page.on("console", (message) => {
    // What is cut on purpose is told there, too.
    const meant = /ERR_FAILED|ERR_ABORTED|401/.test(message.text());
    if (message.type() === "error" && !meant) troubles.push(`console: ${message.text()}`);
  });
  page.on("dialog", (dialog) => dialog.accept());
  await page.goto(home, { waitUntil: "load" });
  return page;
}

async function signUp(page) {
  await page.getByTestId("log-in").click();
  await page.getByTestId("address").fill("somebody@example.com");
  await page.getByTestId("password").fill("a password that is long enough");
  await page.getByTestId("submit-log-in").click();
  await page.locator("#account-note.wrong").waitFor();
  ok(`who has no account is told: ${await page.getByTestId("account-note").textContent()}`);
  await page.getByTestId("submit-sign-up").click();
  await page.getByTestId("log-out").waitFor();
  ok(`signing up logs in: ${await page.getByTestId("who").textContent()}`);
}

async function uploadOverACutConnection(page) {
  let pieces = 0;
  await page.route("**/api/uploads/*", async (route) => {
    const cut = route.request().method() === "PATCH" && (pieces += 1) === 1;
    if (cut) await route.abort("failed");
    else await route.continue();
  });
  await page.getByTestId("file").setInputFiles(file);
  await page.getByTestId("upload").getByText("trying again").waitFor();
  ok("a lost connection is told");
  await videoRow(page).waitFor();
  check(pieces > 1, "the piece that was cut is sent again", `${pieces} sent`);
  check((await page.getByTestId("upload").count()) === 0, "an upload that is done is no upload any more");
  ok(`the upload goes on by itself and becomes a video: ${(await videoRow(page).innerText()).replaceAll("\n", " ")}`);
}

function videoRow(page) {
  return page.getByTestId("video").filter({ hasText: title });
}

async function progressIsShown(page) {
  const until = Date.now() + STEP_MS;
  const facts = () => videoRow(page).innerText();
  while (!/transcoding, \d+ % done/.test(await facts())) {
    check(Date.now() < until, "what workers do with a video is shown", await facts());
    await page.reload({ waitUntil: "load" });
    await videoRow(page).waitFor();
  }
  const before = await facts();
  while ((await facts()) === before) {
    check(Date.now() < until, "progress moves by itself", before);
    await page.waitForTimeout(50);
  }
  ok(`what workers do with a video is shown, and moves by itself: ${(await facts()).replaceAll("\n", " ")}`);
}

async function itPlays(page) {
  await videoRow(page).click();
  const playing = () => document.querySelector("video")?.readyState >= 2;
  await page.waitForFunction(playing, undefined, { timeout: STEP_MS });
  ok("its owner plays it though it is private");
}

async function othersSeeItOnceItIsPublic(page, browser) {
  const stranger = await (await browser.newContext()).newPage();
  const href = await videoRow(page).getAttribute("data-key");
  const url = new URL(`/media/${href.split("/").map(encodeURIComponent).join("/")}`, home).href;
  const status = async () => (await stranger.request.get(url, { headers: { range: "bytes=0-9" } })).status();
  check((await status()) === 404, "a stranger does not see it", String(await status()));
  await page.getByTestId("visibility").selectOption("public");
  const until = Date.now() + STEP_MS;
  while ((await status()) !== 206) {
    check(Date.now() < until, "a stranger sees what is public");
    await stranger.waitForTimeout(50);
  }
  await stranger.close();
  ok("a stranger plays it once it is public, and not before");
}

async function deletingAndLeaving(page) {
  await page.getByTestId("delete").click();
  await videoRow(page).waitFor({ state: "detached" });
  ok("it can be deleted");
  await page.getByTestId("log-out").click();
  await page.getByTestId("log-in").waitFor();
  ok("logging out ends the session");
}

let browser;
let page;
let failed = false;
try {
  browser = await startBrowser();
  page = await openPage(browser);
  await signUp(page);
  await uploadOverACutConnection(page);
  await progressIsShown(page);
  await itPlays(page);
  if (values.screenshot) await page.screenshot({ path: values.screenshot });
  await othersSeeItOnceItIsPublic(page, browser);
  await deletingAndLeaving(page);
  check(troubles.length === 0, "the browser reports no errors", `${troubles.length} of them`);
  ok("the browser reports no errors");
} catch (error) {
  failed = true;
  console.log(`FAILED  ${error instanceof Failed ? error.message : error.stack}`);
  for (const line of troubles) console.log(`        ${line}`);
  if (values.screenshot && page) await page.screenshot({ path: values.screenshot }).catch(() => {});
} finally {
  await browser?.close();
}
process.exit(failed ? 1 : 0);
