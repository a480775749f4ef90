// Uploads a file with tus-js-client as it is: upload.mjs URL FILE PROTOCOL PARALLEL
import { createReadStream, statSync } from "node:fs";
import { Upload } from "tus-js-client";

const [endpoint, path, protocol, parallel] = process.argv.slice(2);
const isTus = protocol === "tus-v1";
const parallelUploads = Number(parallel);

const upload = new Upload(createReadStream(path), {
  endpoint,
  protocol,
  parallelUploads,
  // A stream is read in chunks; a file that is sent in parallel is read by its path.
  chunkSize: parallelUploads > 1 ? Infinity : 6 * 1024 * 1024,
  uploadSize: isTus && parallelUploads === 1 ? statSync(path).size : undefined,
  uploadDataDuringCreation: isTus && parallelUploads === 1,
  metadata: { filename: "by tus-js-client.mp4" },
  retryDelays: Array(100).fill(5),
  onShouldRetry: () => true,
  onError(error) {
    console.error(String(error));
    process.exit(1);
  },
  onSuccess() {
    console.log("ok", upload.url);
  },
});
upload.start();
