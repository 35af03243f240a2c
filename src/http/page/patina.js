// Keeps the page true while it is open: progress as it happens, everything else by asking for the page again.
// Without this the page is complete, only still.
"use strict";

const REFRESH_EVERY_MS = 60000;
const RETRY_AFTER_MS = 5000;

const byId = (id) => document.getElementById(id);

function make(tag, className, text) {
  const element = document.createElement(tag);
  element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

// --- the page itself

let asked = 0;

/** Takes the page anew, without losing the keyboard's place or what was just said. */
async function refresh() {
  const mine = ++asked;
  let answer;
  try {
    answer = await fetch("/", { headers: { Accept: "text/html" } });
  } catch {
    return;
  }
  if (!answer.ok || !(answer.headers.get("content-type") || "").startsWith("text/html")) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  const main = fresh.getElementById("page");
  if (!main || mine !== asked) return;
  const focused = document.activeElement && document.activeElement.id;
  const said = byId("said").textContent;
  const progress = byId("progress");
  byId("page").replaceChildren(...main.childNodes);
  byId("said").textContent = said;
  if (live) byId("progress").replaceWith(progress);
  showLive();
  document.title = fresh.title;
  const time = fresh.querySelector(".agent");
  if (time) document.querySelector(".agent").replaceChildren(...time.childNodes);
  if (focused && byId(focused)) byId(focused).focus({ preventScroll: true });
}

// --- a job at work

/** The job that events tell of; null while none runs. */
let live = null;

/** So many of all databases, in words. */
const share = (some, all) => `${some} of ${all} ${all === 1 ? "database" : "databases"}`;

function showLive() {
  if (!live) return;
  const done = live.databases.filter((one) => one.stage === "done").length;
  byId("doing").textContent = `A backup is running: ${share(done, live.databases.length)} ${done === 1 ? "is" : "are"} done.`;
  byId("trigger").disabled = true;
}

/** One line for each database; lines are changed, not made anew, so that bars move and do not jump. */
function showProgress(job) {
  const isNew = !live && byId("live").dataset.job !== job.jobId;
  live = job;
  const list = byId("progress");
  if (list.dataset.job !== job.jobId) {
    list.dataset.job = job.jobId;
    list.replaceChildren(...job.databases.map((one) => {
      const line = make("li", "");
      const bar = make("progress", "");
      bar.max = 1;
      bar.setAttribute("aria-label", one.database);
      line.append(make("span", "name", one.database), bar, make("span", "stage"));
      return line;
    }));
  }
  job.databases.forEach((one, index) => {
    const [, bar, stage] = list.children[index].children;
    if (typeof one.fraction === "number") bar.value = one.fraction;
    else if (one.stage === "waiting") bar.value = 0;
    else bar.removeAttribute("value");
    const rows = one.stage === "exporting" && one.rows ? ` ${one.rows.toLocaleString("en")} ${one.rows === 1 ? "row" : "rows"}` : "";
    stage.textContent = one.stage + rows;
  });
  showLive();
  // The rest of the page is to know of it, too.
  if (isNew) refresh();
}

function ended(job) {
  const counts = job.databases || {};
  const failed = counts.failed || 0;
  const well = failed === 0 && job.status === "completed";
  say(well
    ? `Done: ${share(counts.successful, counts.total)} backed up.`
    : `The backup ended as ${job.status}: ${share(failed, counts.total)} failed.`);
}

function idle() {
  const was = live;
  live = null;
  const list = byId("progress");
  delete list.dataset.job;
  list.replaceChildren();
  if (was || byId("live").dataset.job) refresh();
}

function listen() {
  const events = new EventSource("/events");
  const on = (kind, work) => events.addEventListener(kind, (event) => work(JSON.parse(event.data)));
  on("progress", showProgress);
  on("job", ended);
  on("idle", idle);
  events.onerror = () => {
    // The browser tries again by itself, unless the server said no.
    if (events.readyState === EventSource.CLOSED) setTimeout(listen, RETRY_AFTER_MS);
  };
}

// --- "Back up now"

function say(text) {
  byId("said").textContent = text;
}

async function trigger() {
  const button = byId("trigger");
  button.disabled = true;
  say("Asking for a backup…");
  try {
    const answer = await fetch("/trigger", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ reason: "from the dashboard" }),
    });
    const body = await answer.json().catch(() => ({}));
    if (answer.status === 202) say("The backup begins.");
    else if (answer.status === 409) say("A backup is running already.");
    else say(body.message || `The server refused (${answer.status}).`);
    if (answer.status !== 202 && !live) button.disabled = false;
  } catch {
    say("The server does not answer.");
    button.disabled = false;
  }
}

document.addEventListener("click", (event) => {
  if (event.target.id === "trigger") trigger();
});
setInterval(() => { if (!document.hidden) refresh(); }, REFRESH_EVERY_MS);
document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
listen();
