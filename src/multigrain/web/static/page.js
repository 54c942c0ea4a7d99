"use strict";

// The page: submits, lists, opens and deletes analyses through the JSON API. Text from outside is only ever set as textContent.

const POLL_MILLISECONDS = 1000;
const PAGE_SIZE = 50;
const TRANSCRIPT_NAME = /\.(srt|vtt|ass|ssa|txt|json)$/i;
const STATES = { queued: ["…", "Waiting"], running: ["▶", "Running"], done: ["✓", "Done"], failed: ["!", "Failed"], cancelled: ["–", "Cancelled"] };

const part = (id) => document.getElementById(id);
const rows = new Map();
const uploads = new Set();
let facts = null;
let shownCount = PAGE_SIZE;
let timer = 0;

function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text) made.textContent = text;
  return made;
}

// A sentence; what stands between backticks is shown as code.
function fill(target, sentence) {
  target.replaceChildren(...sentence.split("`").map((piece, index) => (index % 2 ? element("code", "", piece) : piece)));
}

function button(label, title, action, className) {
  const made = element("button", className, label);
  made.type = "button";
  made.setAttribute("aria-label", `${label}: ${title}`);
  made.addEventListener("click", action);
  return made;
}

// Talking to the server ------------------------------------------------------------------------------------------

async function ask(path, options) {
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Error("The server does not answer. It may have been stopped; what it was asked before is kept.");
  }
  if (answer.status === 401) window.location.assign("/login");
  if (answer.status === 204) return null;
  const values = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(values.error || `The server answered with status ${answer.status}.`);
  return values;
}

function complain(words) {
  fill(part("alert-words"), words);
  part("alert").hidden = false;
  part("alert").scrollIntoView({ block: "nearest" });
}

function quieten() {
  part("alert").hidden = true;
}

function announce(words) {
  part("announcer").textContent = words;
}

// Submitting -----------------------------------------------------------------------------------------------------

function sizeText(bytes) {
  if (bytes >= 2 ** 30) return `${(bytes / 2 ** 30).toFixed(1)} GiB`;
  return bytes >= 2 ** 20 ? `${(bytes / 2 ** 20).toFixed(1)} MiB` : `${Math.max(1, Math.round(bytes / 1024))} KiB`;
}

function lengthText(seconds) {
  if (seconds < 120) return `${Math.round(seconds)} s`;
  return seconds < 7200 ? `${Math.round(seconds / 60)} min` : `${+(seconds / 3600).toFixed(1)} h`;
}

function checkSizes(video, transcript) {
  if (!facts) return;
  const pairs = [[video, facts.max_video_bytes], [transcript, facts.max_transcript_bytes]];
  for (const [file, most] of pairs) {
    if (file && file.size > most) throw new Error(`${file.name} has ${sizeText(file.size)}; this server takes at most ${sizeText(most)}. Choose a smaller file.`);
    if (file && file.size === 0) throw new Error(`${file.name} is empty (0 bytes). Choose another file.`);
  }
}

function submitVideo(video, transcript) {
  checkSizes(video, transcript);
  const form = new FormData();
  form.append("video", video, video.name);
  if (transcript) form.append("transcript", transcript, transcript.name);
  const request = new XMLHttpRequest();
  const row = uploadRow(video, () => request.abort());
  uploads.add(request);
  request.upload.addEventListener("progress", (event) => row.show(event.loaded / Math.max(1, event.total)));
  request.addEventListener("loadend", () => {
    uploads.delete(request);
    row.item.remove();
    refresh();
  });
  request.addEventListener("load", () => {
    if (request.status === 401) window.location.assign("/login");
    if (request.status !== 202) complain(sentenceOf(request));
    else announce(`${video.name} was submitted.`);
  });
  request.addEventListener("error", () => complain(`The upload of ${video.name} broke off. Either the connection or the server ended it; try again.`));
  request.open("POST", "/api/analyses");
  request.send(form);
}

function sentenceOf(request) {
  try {
    return JSON.parse(request.responseText).error;
  } catch {
    return `The server answered with status ${request.status}.`;
  }
}

function uploadRow(video, abort) {
  const item = element("li", "job");
  const name = element("div");
  name.append(element("div", "job-name", video.name), element("div", "job-facts", sizeText(video.size)));
  const state = element("div", "job-state");
  const words = element("span", "", "Uploading");
  const bar = element("progress");
  bar.max = 1;
  bar.setAttribute("aria-label", `Upload of ${video.name}`);
  state.append(words, bar);
  const actions = element("div", "job-actions");
  actions.append(button("Stop", video.name, abort));
  item.append(name, state, actions);
  part("jobs").prepend(item);
  part("none").hidden = true;
  return {
    item,
    show(share) {
      bar.value = share;
      words.textContent = share >= 1 ? "Being checked" : `Uploading, ${Math.floor(100 * share)} %`;
    },
  };
}

function stem(name) {
  return name.replace(/\.[^.]*$/, "").replace(/\.[a-z]{2}$/i, "").toLowerCase();
}

// Several files at once: each video with the transcript of the same name, or with the only one.
function pairUp(files) {
  const transcripts = files.filter((file) => TRANSCRIPT_NAME.test(file.name));
  const videos = files.filter((file) => !TRANSCRIPT_NAME.test(file.name));
  const isOnly = videos.length === 1 && transcripts.length === 1;
  return { transcripts, pairs: videos.map((video) => [video, isOnly ? transcripts[0] : transcripts.find((one) => stem(one.name) === stem(video.name))]) };
}

function place(input, file) {
  const transfer = new DataTransfer();
  transfer.items.add(file);
  input.files = transfer.files;
}

function takeDropped(files) {
  quieten();
  const { transcripts, pairs } = pairUp(files);
  if (pairs.length > 1) {
    for (const [video, transcript] of pairs) {
      try {
        submitVideo(video, transcript);
      } catch (error) {
        complain(error.message);
      }
    }
    return;
  }
  if (pairs.length) place(part("video"), pairs[0][0]);
  if (transcripts.length) place(part("transcript"), transcripts[0]);
  announce(`Taken: ${files.map((file) => file.name).join(", ")}.`);
  document.querySelector("#video-form .primary").focus();
}

function setUpForms() {
  part("video-form").addEventListener("submit", (event) => {
    event.preventDefault();
    quieten();
    const [video] = part("video").files;
    if (!video) {
      complain("Choose a video first, or drop one on the page.");
      part("video").focus();
      return;
    }
    try {
      submitVideo(video, part("transcript").files[0]);
      event.target.reset();
    } catch (error) {
      complain(error.message);
    }
  });
  part("text-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    quieten();
    const text = part("text").value;
    if (!text.trim()) {
      complain("Type or paste some words first.");
      part("text").focus();
      return;
    }
    const submit = event.target.querySelector("button");
    submit.disabled = true;
    try {
      await ask("/api/analyses", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ text }) });
      part("text").value = "";
      announce("The text was submitted.");
    } catch (error) {
      complain(error.message);
    }
    submit.disabled = false;
    refresh();
  });
  part("alert-close").addEventListener("click", quieten);
  part("more").addEventListener("click", () => {
    shownCount += PAGE_SIZE;
    refresh();
  });
}

function setUpDropping() {
  let depth = 0;
  const over = (isOver) => part("drop").classList.toggle("is-over", isOver);
  document.addEventListener("dragenter", (event) => { event.preventDefault(); depth += 1; over(true); });
  document.addEventListener("dragleave", () => { depth -= 1; over(depth > 0); });
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    depth = 0;
    over(false);
    const files = [...event.dataTransfer.files];
    if (files.length) takeDropped(files);
  });
  window.addEventListener("beforeunload", (event) => { if (uploads.size) event.preventDefault(); });
}

// The list -------------------------------------------------------------------------------------------------------

function timeText(iso) {
  return new Date(iso).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
}

function stateText(job) {
  if (job.state === "queued") return job.ahead ? `Waiting, ${job.ahead} before it` : "Waiting, next";
  if (job.state === "running") return job.stage || "Running";
  return STATES[job.state][1];
}

function factsText(job) {
  const facts = [job.kind === "text" ? "Text" : "Video", timeText(job.created)];
  if (job.state === "done") facts.push(`took ${lengthText(Math.max(1, (new Date(job.finished) - new Date(job.started)) / 1000))}`);
  return facts.join(" · ");
}

function makeRow(job) {
  const item = element("li", "job");
  const names = element("div");
  const row = {
    item, state: "",
    name: element("div", "job-name", job.title), facts: element("div", "job-facts"),
    mark: element("span", "mark"), words: element("span"), bar: element("progress"), actions: element("div", "job-actions"), error: element("p", "job-error"),
  };
  row.mark.setAttribute("aria-hidden", "true");
  row.bar.max = 1;
  row.bar.setAttribute("aria-label", `Progress of ${job.title}`);
  names.append(row.name, row.facts);
  const state = element("div", "job-state");
  state.append(row.mark, row.words, row.bar);
  item.append(names, state, row.actions, row.error);
  return row;
}

function actionsOf(job) {
  if (job.state === "queued" || job.state === "running") return [button("Cancel", job.title, () => cancel(job))];
  const removal = button("Delete", job.title, () => remove(job));
  if (job.state !== "done") return [removal];
  const open = element("a", "button", "Open");
  open.href = `#${job.id}`;
  open.setAttribute("aria-label", `Open: ${job.title}`);
  return [open, removal];
}

function showRow(row, job) {
  row.facts.textContent = factsText(job);
  row.words.textContent = stateText(job);
  row.bar.hidden = job.state !== "running";
  row.bar.value = job.progress;
  row.error.hidden = !job.error;
  fill(row.error, job.error || "");
  if (row.state === job.state) return; // what has the focus keeps it
  if (row.state) announce(`${job.title}: ${stateText(job)}.`);
  row.state = job.state;
  row.item.className = `job is-${job.state}`;
  row.mark.textContent = STATES[job.state][0];
  const hadFocus = row.actions.contains(document.activeElement);
  row.actions.replaceChildren(...actionsOf(job));
  if (hadFocus) row.actions.firstChild.focus();
}

function showList(answer) {
  const present = new Set(answer.analyses.map((job) => job.id));
  for (const [id, row] of rows) {
    if (!present.has(id)) {
      row.item.remove();
      rows.delete(id);
    }
  }
  for (const job of answer.analyses) {
    const isNew = !rows.has(job.id);
    if (isNew) rows.set(job.id, makeRow(job));
    showRow(rows.get(job.id), job);
  }
  const order = answer.analyses.map((job) => rows.get(job.id).item);
  const shown = [...part("jobs").children].filter((item) => order.includes(item));
  if (order.some((item, index) => item !== shown[index])) part("jobs").append(...order);
  part("count").textContent = answer.total ? `(${answer.total})` : "";
  part("none").hidden = answer.total > 0 || uploads.size > 0;
  part("more").hidden = answer.total <= answer.analyses.length || shownCount >= 200;
  return answer.analyses.some((job) => job.state === "queued" || job.state === "running");
}

async function refresh() {
  clearTimeout(timer);
  let isActive = true;
  try {
    isActive = showList(await ask(`/api/analyses?limit=${Math.min(200, shownCount)}`));
    if (part("alert").dataset.isOutage) quieten();
    delete part("alert").dataset.isOutage;
  } catch (error) {
    complain(error.message);
    part("alert").dataset.isOutage = "yes";
  }
  timer = setTimeout(refresh, (isActive ? 1 : 10) * POLL_MILLISECONDS);
}

async function cancel(job) {
  await ask(`/api/analyses/${job.id}/cancel`, { method: "POST" }).catch((error) => complain(error.message));
  refresh();
}

function remove(job) {
  const dialog = part("confirm");
  part("confirm-words").textContent = `What was submitted as “${job.title}”, and what came of it, are removed from the server. This cannot be undone.`;
  dialog.returnValue = "no";
  dialog.addEventListener("close", async () => {
    if (dialog.returnValue !== "yes") return;
    await ask(`/api/analyses/${job.id}`, { method: "DELETE" }).catch((error) => complain(error.message));
    announce(`${job.title} was deleted.`);
    window.location.hash = "";
    refresh();
  }, { once: true });
  dialog.showModal();
}

// One report -----------------------------------------------------------------------------------------------------

async function show() {
  const id = window.location.hash.slice(1);
  if (!/^[0-9a-f]{32}$/.test(id)) {
    part("viewer").hidden = true;
    part("overview").hidden = false;
    part("frame").removeAttribute("src");
    document.title = "multigrain";
    return;
  }
  let job;
  try {
    job = await ask(`/api/analyses/${id}`);
    if (job.state !== "done") throw new Error(job.error || `${job.title} is not done yet.`);
  } catch (error) {
    window.location.hash = "";
    complain(error.message);
    return;
  }
  part("viewer-title").textContent = job.title;
  document.title = `${job.title}: multigrain`;
  for (const name of ["report", "result", "table", "archive"]) part(`save-${name}`).href = `/api/analyses/${id}/${name}`;
  part("save-result").download = `multigrain-${id.slice(0, 8)}.json`;
  part("viewer-delete").onclick = () => remove(job);
  part("frame").title = `Report of ${job.title}`;
  part("frame").src = `/analyses/${id}/report.html`;
  part("overview").hidden = true;
  part("viewer").hidden = false;
  part("viewer-title").focus();
}

async function start() {
  setUpForms();
  setUpDropping();
  window.addEventListener("hashchange", show);
  refresh();
  show();
  facts = await ask("/api/server");
  part("video-limit").textContent = `, up to ${sizeText(facts.max_video_bytes)} and ${lengthText(facts.max_duration_seconds)}`;
  part("recognizer").textContent = facts.recognizer === "none" ? "Without it, only voice and face count." : `Without it, words are recognised by ${facts.recognizer}.`;
  part("log-out").hidden = !facts.needs_token;
}

start().catch((error) => complain(error.message));
