// A real browser adds a webhook on the console, tries it, and sees what it was told.
//
//   node webhooks.mjs http://127.0.0.1:8080/ http://127.0.0.1:9000/hook
//
// The receiver fails the first time.

import { Failed, STEP_MS, check, ok, startBrowser } from "./browser.mjs";

const [home, hook] = process.argv.slice(2);
const troubles = [];

async function webhooks(page) {
  await page.goto(home, { waitUntil: "load" });
  await page.getByTestId("webhook-url").fill("http://user@example.org/");
  await page.getByTestId("add-webhook").click();
  await page.getByText("must have no user name").waitFor();
  await page.getByTestId("webhook-url").fill(hook);
  await page.getByTestId("add-webhook").click();
  const row = page.getByTestId("webhook");
  await row.filter({ hasText: hook }).waitFor();
  const secret = await page.getByTestId("webhooks-note").textContent();
  check(/whsec_[A-Za-z0-9+/]{43}=$/.test(secret), "its secret is shown", secret);
  ok("a webhook is added, and its secret shown");

  await row.getByTestId("test").click();
  await page.getByText("It will be told of a test.").waitFor();
  // What it was told is there a moment later.
  for (const begun = Date.now(); ; ) {
    await row.getByTestId("log").locator("summary").click();
    const told = row.getByTestId("told").filter({ hasText: "webhook.test" }).filter({ hasText: "delivered · 200 after" });
    if ((await told.count()) === 1) break;
    if (Date.now() - begun > STEP_MS) throw new Failed(`the log says ${await row.getByTestId("log").textContent()}`);
  }
  ok("the log says what it was told");
  await row.getByTestId("rotate").click();
  await page.waitForFunction((before) => document.getElementById("webhooks-note").textContent !== before, secret);
  await row.getByTestId("enable").click();
  await row.getByTestId("webhook-state").filter({ hasText: "disabled" }).waitFor();
  await row.getByTestId("enable").click();
  await row.getByTestId("webhook-state").filter({ hasText: "enabled" }).waitFor();
  page.on("dialog", (dialog) => dialog.accept());
  await row.getByTestId("delete-webhook").click();
  await row.waitFor({ state: "detached" });
  ok("it is disabled, enabled and deleted");
}

const browser = await startBrowser();
try {
  const page = await browser.newPage();
  page.setDefaultTimeout(STEP_MS);
  page.on("pageerror", (error) => troubles.push(`script: ${error.stack}`));
  await webhooks(page);
  check(troubles.length === 0, "nothing is wrong on the page", troubles.join("\n"));
} catch (error) {
  console.log(`FAILED  ${error instanceof Failed ? error.message : error.stack}`);
  process.exitCode = 1;
} finally {
  await browser.close();
}
