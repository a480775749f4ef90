// Verifies requests with the specification's own library: a line of JSON each on stdin, {secret, headers, body}.
import { createInterface } from "node:readline";
import { Webhook } from "standardwebhooks";

let count = 0;
for await (const line of createInterface({ input: process.stdin })) {
  const { secret, headers, body } = JSON.parse(line);
  const event = new Webhook(secret).verify(body, headers);
  if (event.id !== headers["webhook-id"]) throw new Error(`${event.id} is called ${headers["webhook-id"]}`);
  count += 1;
}
console.log("ok", count);
