// Webhooks: programs that are told of events, and the log of what they were told. Hidden from whoever can have none.

import { at, consoleState, element, inWords, note } from "/assets/words.js";

/** Shows the webhooks of whoever looks at the page. */
export async function beginWebhooks(state) {
  at("webhook-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    const made = await ask("", "POST", { url: at("webhook-url").value });
    if (!made) return;
    at("webhook-url").value = "";
    tell(made);
    await list();
  });
  await showWebhooks(state);
}

/** The same again, for somebody else perhaps. */
export async function showWebhooks(state = null) {
  const { webhooks } = state ?? (await consoleState());
  at("webhooks-section").hidden = !webhooks;
  note("webhooks-note", "");
  at("webhooks").replaceChildren();
  if (webhooks) await list();
}

/** What the gateway says, or null where it says no. */
async function ask(below, method = "GET", body = undefined) {
  const headers = body ? { "Content-Type": "application/json" } : {};
  const response = await fetch(`/api/webhooks${below}`, { method, headers, body: body && JSON.stringify(body) });
  if (!response.ok) {
    note("webhooks-note", await inWords(response), { wrong: true });
    return null;
  }
  return response.status === 204 ? {} : response.json();
}

function tell({ secret }) {
  note("webhooks-note", `Its secret, which is shown this once: ${secret}`);
}

async function list() {
  const page = await ask("");
  if (page) at("webhooks").replaceChildren(...page.webhooks.map(row));
}

function row(webhook) {
  const item = document.createElement("li");
  item.dataset.testid = "webhook";
  const state = element("span", stateInWords(webhook), "state");
  state.dataset.testid = "webhook-state";
  state.dataset.state = webhook.enabled && !webhook.failing_since ? "enabled" : "failed";
  const what = element("div", webhook.url, "object");
  what.append(element("span", webhook.events.join(", ") || "all events", "facts"), state);

  const log = document.createElement("details");
  log.append(element("summary", "What it was told"), document.createElement("ul"));
  log.dataset.testid = "log";
  const read = () => readLog(webhook, log.querySelector("ul"));
  log.addEventListener("toggle", () => log.open && read());

  const act = async (below, method, body) => {
    const done = await ask(`/${webhook.id}${below}`, method, body);
    if (done?.secret) tell(done);
    if (done) await list();
  };
  const actions = element("div", "", "actions");
  actions.append(
    button("Try it", "test", async () => {
      if (await ask(`/${webhook.id}/test`, "POST")) note("webhooks-note", "It will be told of a test.");
    }),
    button(webhook.enabled ? "Disable" : "Enable", "enable", () => act("", "PATCH", { enabled: !webhook.enabled })),
    button("New secret", "rotate", () => act("/secret", "POST")),
    button("Delete", "delete-webhook", () => confirm(`Delete ${webhook.url} and its log?`) && act("", "DELETE")),
  );
  item.append(what, actions, log);
  return item;
}

function stateInWords({ enabled, problem, failing_since }) {
  if (!enabled) return problem ? `disabled: ${problem}` : "disabled";
  return failing_since ? `fails since ${new Date(failing_since).toLocaleString()}` : "enabled";
}

async function readLog(webhook, log) {
  const page = await ask(`/${webhook.id}/deliveries`);
  if (!page) return;
  const told = page.deliveries.map((delivery) => {
    const item = element("li", deliveryInWords(delivery), "delivery-row");
    item.dataset.testid = "told";
    const again = button("Again", "redeliver", async () => {
      if (await ask(`/${webhook.id}/deliveries/${delivery.event.id}/redeliver`, "POST")) await readLog(webhook, log);
    });
    item.append(again);
    return item;
  });
  log.replaceChildren(...(told.length > 0 ? told : [element("li", "Nothing yet.")]));
}

function deliveryInWords({ event, state, next_attempt, attempts }) {
  const last = attempts.at(-1);
  const words = [event.type, new Date(event.timestamp).toLocaleString(), state];
  if (last) words.push(last.problem ?? `${last.status} after ${last.duration_ms} ms`);
  if (next_attempt) words.push(`next ${new Date(next_attempt).toLocaleTimeString()}`);
  return words.join(" · ");
}

function button(words, testid, onClick) {
  const made = element("button", words);
  made.type = "button";
  made.dataset.testid = testid;
  made.addEventListener("click", onClick);
  return made;
}
