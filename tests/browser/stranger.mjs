// A stranger on the console of a gateway whose worker is real: signs up, uploads in the page, watches what becomes of it,
// plays what is published in a quality of choice, and is told what is wrong with files that are no videos.
//
//   node stranger.mjs http://127.0.0.1:8080/ GOOD LATER BAD... [--screenshots FOLDER]
//
// GOOD and LATER are videos; each BAD is FILE=WORDS, a file and what the page says of it.

import { basename } from "node:path";
import { parseArgs } from "node:util";
import { Failed, STEP_MS, check, ok, startBrowser } from "./browser.mjs";

const { values, positionals } = parseArgs({ allowPositionals: true, options: { screenshots: { type: "string" } } });
const [home, good, later, ...bad] = positionals;
const title = (file) => basename(file).replace(/\.[^.]+$/, "");
const troubles = [];

const row = (page, file) => page.locator("#videos li").filter({ hasText: title(file) });
const state = (page, file) => row(page, file).getByTestId("state");

async function shoot(page, name) {
  if (values.screenshots) await page.screenshot({ path: `${values.screenshots}/${name}.png`, fullPage: true });
}

async function openPage(browser) {
  const page = await browser.newPage({ viewport: { width: 1280, height: 900 } });
  page.setDefaultTimeout(STEP_MS);
  page.on("pageerror", (error) => troubles.push(`script: ${error.stack}`));
  page.on("console", (message) => {
    // That something is refused is told there, too.
    if (message.type() === "error" && !/status of (401|415|422)/.test(message.text())) troubles.push(`console: ${message.text()}`);
  });
  await page.goto(home, { waitUntil: "load" });
  return page;
}

async function signUp(page) {
  await page.getByTestId("log-in").click();
  await page.getByTestId("address").fill("stranger@example.com");
  await page.getByTestId("password").fill("a password that is long enough");
  await page.getByTestId("submit-sign-up").click();
  await page.getByTestId("log-out").waitFor();
}

/** Every state that any row says from now on, by its title. */
async function noteStates(page) {
  await page.evaluate(() => {
    window.said = {};
    const look = () => {
      for (const state of document.querySelectorAll("#videos .state")) {
        const title = state.closest("a").firstChild.textContent;
        const said = (window.said[title] ??= []);
        if (said.at(-1) !== state.textContent) said.push(state.textContent);
      }
    };
    new MutationObserver(look).observe(document.querySelector("#videos"), { childList: true, subtree: true, characterData: true });
  });
}

async function twoAreUploaded(page) {
  await noteStates(page);
  await page.getByTestId("file").setInputFiles([good, later]);
  for (const file of [good, later]) await row(page, file).waitFor();
  await shoot(page, "processing");
  for (const file of [good, later]) await state(page, file).filter({ hasText: "ready" }).waitFor();
  const said = await page.evaluate(() => window.said);
  const all = Object.values(said).flat();
  check(all.includes("queued"), "the one that waits says so", JSON.stringify(said));
  check(all.some((words) => /% done/.test(words)), "the one that is processed says how far it is", JSON.stringify(said));
  for (const file of [good, later]) check(said[title(file)].at(-1) === "ready", "it ends ready", JSON.stringify(said));
  ok(`what becomes of them is shown live: ${said[title(good)].join(" → ")}`);
}

async function itPlays(page) {
  await row(page, good).getByTestId("video").click();
  await page.waitForFunction(() => document.querySelector("video")?.currentTime > 0.5);
  const quality = page.getByTestId("quality");
  const offered = await quality.locator("option").allTextContents();
  check(offered.length > 2, "there is a choice of qualities", offered.join("; "));
  for (const option of [offered.at(-1), offered[1]]) {
    await quality.selectOption({ label: option });
    await page.evaluate(() => { document.querySelector("video").currentTime = 0; document.querySelector("video").play(); });
    await page.waitForFunction((lines) => document.querySelector("video").videoHeight === lines, parseInt(option, 10));
  }
  const bar = await page.getByTestId("buffered").boundingBox();
  await page.mouse.move(bar.x + bar.width * 0.75, bar.y + bar.height / 2);
  await page.getByTestId("picture").waitFor();
  await shoot(page, "playing");
  await page.mouse.click(bar.x + bar.width * 0.75, bar.y + bar.height / 2);
  await page.waitForFunction(() => document.querySelector("video").currentTime > 0.75 * document.querySelector("video").duration);
  check((await page.locator("#videos [aria-current]").count()) === 1, "the list shows which one is open");
  ok(`it plays by HLS in a quality of choice: ${offered.join("; ")}`);
}

/** What workers make is listed for those who look for it, and in nobody's way. */
async function theLibraryIsTidy(page) {
  const keys = () => page.getByTestId("object").evaluateAll((links) => links.map((link) => link.dataset.key));
  await page.reload({ waitUntil: "load" });
  await page.getByTestId("object").first().waitFor();
  check((await keys()).every((key) => key.startsWith("original/")), "the library shows what was uploaded", String(await keys()));
  await page.getByTestId("filter").fill("processed/");
  await page.getByTestId("object").filter({ hasText: "master.m3u8" }).first().waitFor();
  ok("the library shows what was uploaded, and what was made of it to those who ask");
}

async function whatIsWrongIsTold(page) {
  await page.getByTestId("file").setInputFiles(bad.map((one) => one.split("=")[0]));
  for (const one of bad) {
    const [file, words] = one.split("=");
    // Some are refused at once, and some prove wrong only when a worker looks at them.
    const told = row(page, file).getByTestId("state").or(page.getByTestId("upload").filter({ hasText: basename(file) }));
    const said = told.filter({ hasText: words });
    await said.waitFor().catch(async () => {
      throw new Failed(`of ${file} the page says ${JSON.stringify(await told.allTextContents())} and not ${words}`);
    });
    ok(`${basename(file)}: ${(await said.innerText()).replaceAll("\n", " ")}`);
  }
  await shoot(page, "wrong");
}

let browser;
let page;
let failed = false;
try {
  browser = await startBrowser();
  page = await openPage(browser);
  await shoot(page, "first");
  await signUp(page);
  await twoAreUploaded(page);
  await itPlays(page);
  await theLibraryIsTidy(page);
  await whatIsWrongIsTold(page);
  if (values.screenshots) {
    await page.emulateMedia({ colorScheme: "dark" });
    await page.setViewportSize({ width: 390, height: 844 });
    await shoot(page, "narrow");
  }
  check(troubles.length === 0, "the browser reports no errors", `${troubles.length} of them`);
  ok("the browser reports no errors");
} catch (error) {
  failed = true;
  console.log(`FAILED  ${error instanceof Failed ? error.message : error.stack}`);
  for (const line of troubles) console.log(`        ${line}`);
  if (page) await shoot(page, "failed").catch(() => {});
} finally {
  await browser?.close();
}
process.exit(failed ? 1 : 0);
