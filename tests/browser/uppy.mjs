// Uppy, as its maker builds it, uploads a video from a real browser:
//
//   node uppy.mjs http://127.0.0.1:8080/ VIDEO
//
// The page is one of the gateway's own, with Uppy's bundle put into it. The network may be bad from the beginning.

import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { Failed, STEP_MS, check, ok, startBrowser } from "./browser.mjs";

const [home, file] = process.argv.slice(2);
if (!file) {
  console.error("usage: node uppy.mjs http://127.0.0.1:PORT/ VIDEO");
  process.exit(2);
}

/** Runs in the page. */
async function upload(input) {
  const uppy = new window.Uppy.Uppy();
  // Pieces of 6 MiB, so that a cut costs no more than one; a person would be asked far later than after ten failures.
  uppy.use(window.Uppy.Tus, { endpoint: "/api/uploads", chunkSize: 6 << 20, retryDelays: Array(100).fill(20) });
  const [data] = input.files;
  uppy.addFile({ name: data.name, type: data.type, data });
  const { successful, failed } = await uppy.upload();
  return { urls: successful.map((file) => file.uploadURL), errors: failed.map((file) => String(file.error)) };
}

async function open(page, left = 20) {
  try {
    await page.goto(new URL("/api/openapi.json", home).href, { waitUntil: "load" });
  } catch (error) {
    if (left === 0) throw error;
    await open(page, left - 1);
  }
}

const browser = await startBrowser();
try {
  const context = await browser.newContext({ bypassCSP: true });
  const page = await context.newPage();
  page.setDefaultTimeout(STEP_MS);
  await open(page);
  const bundle = fileURLToPath(import.meta.resolve("uppy/dist/uppy.min.js"));
  await page.addScriptTag({ content: readFileSync(bundle, "utf8") });
  await page.evaluate(() => {
    const input = document.createElement("input");
    Object.assign(input, { type: "file", id: "for-uppy" });
    document.body.append(input);
  });
  await page.setInputFiles("#for-uppy", file);
  const { urls, errors } = await page.locator("#for-uppy").evaluate(upload);
  check(urls.length === 1 && errors.length === 0, "Uppy uploads the file", errors.join("; "));
  ok(`Uppy uploaded to ${urls[0]}`);
} catch (error) {
  console.error(error instanceof Failed ? `failed  ${error.message}` : error);
  process.exitCode = 1;
} finally {
  await browser.close();
}
