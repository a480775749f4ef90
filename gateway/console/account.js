// Who is logged in. Hidden where the gateway has no accounts.

import { at, consoleState, inWords, note } from "/assets/words.js";

/** Shows who is logged in, and calls `onChange` whenever that changes. */
export async function beginAccount(state, onChange) {
  at("log-in").addEventListener("click", () => {
    note("account-note", "");
    at("account-dialog").showModal();
  });
  at("log-out").addEventListener("click", async () => {
    await fetch("/api/auth/log-out", { method: "POST" });
    await show();
    await onChange();
  });
  at("account-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    if (event.submitter?.value === "close") return at("account-dialog").close();
    const given = { address: at("address").value, password: at("password").value };
    if (event.submitter?.value === "sign-up" && !(await post("sign-up", given))) return;
    if (!(await post("log-in", given))) return;
    at("password").value = "";
    at("account-dialog").close();
    await show();
    await onChange();
  });
  await show(state);
}

async function post(action, given) {
  const headers = { "Content-Type": "application/json" };
  const response = await fetch(`/api/auth/${action}`, { method: "POST", headers, body: JSON.stringify(given) });
  if (!response.ok) note("account-note", await inWords(response), { wrong: true });
  return response.ok;
}

async function show(state = null) {
  const { accounts, account: me } = state ?? (await consoleState());
  at("account").hidden = !accounts;
  at("who").textContent = me ? me.name || me.address : "";
  at("log-in").hidden = me !== null;
  at("log-out").hidden = me === null;
}
