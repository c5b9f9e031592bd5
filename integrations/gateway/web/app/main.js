// The page put together: conversations, one connection, what is shown, what is kept.
// Words of the protocol: docs/web-page.md.

import { Composer } from "./composer.js";
import { Connection } from "./connection.js";
import { Conversation } from "./conversation.js";
import { announce, el } from "./dom.js";
import { Sidebar } from "./sidebar.js";
import { Status } from "./status.js";
import * as storage from "./storage.js";
import { readCommands } from "./suggest.js";
import { Timeline } from "./timeline.js";
import { fill, locale, say, setLanguage } from "./words.js";

const RESEND_MS = 10_000;
const RESYNC_MS = 5_000;
const BLOCKED_AFTER = 4;
const DRAFT_MS = 300;
const TITLE_LENGTH = 60;

const byId = (id) => document.getElementById(id);
let entry = null; // of the list of conversations: {id, channel, title, at}
let conversation = null;
let version = null;
let resyncedAt = 0;
let refusal = null; // a problem before `ready`: why this conversation can't be had
let draft = null; // {id, text}, not written yet
let draftTimer = null;
let catalogue = null; // GET /v1/commands

const status = new Status({ pill: byId("pill"), banner: byId("banner"), notices: byId("notices"), onretry: () => connection.retry() });

const connection = new Connection({
  url: () => `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/v1/chat?conversation=${encodeURIComponent(entry.id)}&channel=${entry.channel}`,
  hello: () => ({ type: "hello", after: conversation.lastEntry }),
  diagnose,
  onframe: receive,
  onstate: (state) => {
    status.show(state, connection.retryAt);
    timeline.changed();
    if (state === "ready") ready();
  },
});

const timeline = new Timeline({
  list: byId("timeline"), scroller: byId("scroller"), empty: byId("empty"), latest: byId("latest"),
  actions: {
    say: utter,
    online: () => connection.state === "ready",
    resend: (turn) => (discard(turn), utter(turn.user.text)),
    edit: (turn) => (discard(turn), composer.write(turn.user.text)),
    discard,
    stop,
    fill: (form, values) => sendForm({ form: form.key, values }),
    takeBack: (form) => sendForm({ form: form.key, cancel: true }),
    unreadable: (form, errors) => (conversation.unreadable(form.key, errors), timeline.changed()),
  },
});

const composer = new Composer({
  form: byId("composer"), box: byId("box"), list: byId("suggestions"), count: byId("count"), button: byId("send"),
  onsay: utter,
  ondraft: keepDraft,
});

const sidebar = new Sidebar({
  aside: byId("sidebar"), list: byId("conversations"), opener: byId("opener"), shade: byId("shade"),
  onopen: (chosen) => open(chosen),
  ondrop: drop,
});

/** Show a conversation and connect to it; `record` says how the browser's history learns of it. */
function open(chosen, { record = "pushState", typed = "" } = {}) {
  writeDraft();
  entry = chosen;
  conversation = new Conversation(entry.id);
  for (const record of storage.unsent(entry.id)) conversation.say(record);
  const address = `?conversation=${encodeURIComponent(entry.id)}${entry.channel === "web" ? "" : `&channel=${entry.channel}`}`;
  if (record && location.search !== address) history[record](null, "", address);
  timeline.show(conversation);
  composer.load(typed || storage.read(`draft/${entry.id}`, ""), conversation.said());
  heading();
  connection.open();
}

/** Say something here: shown and kept at once, sent as soon as possible, under one event id for ever. */
function utter(text) {
  const record = { event_id: storage.newId(), text, at: new Date().toISOString() };
  if (!storage.keepUnsent(entry.id, record)) status.notice(say("full"));
  conversation.say(record);
  entry = { ...entry, at: record.at, title: entry.title || text.trim().replace(/\s+/g, " ").slice(0, TITLE_LENGTH) };
  storage.keepConversation(entry);
  heading();
  composer.setHistory(conversation.said());
  timeline.toEnd();
  timeline.changed();
  if (connection.state === "ready") connection.send(messageFrame(record));
}

/** Keep what is being typed; not at every key, since a draft may be long. */
function keepDraft(text) {
  draft = { id: entry.id, text };
  clearTimeout(draftTimer);
  if (text) draftTimer = setTimeout(writeDraft, DRAFT_MS);
  else writeDraft();
}

function writeDraft() {
  clearTimeout(draftTimer);
  if (!draft) return;
  if (draft.text) storage.write(`draft/${draft.id}`, draft.text);
  else storage.remove(`draft/${draft.id}`);
  draft = null;
}

function messageFrame({ event_id: eventId, text }) {
  return { type: "message", event_id: eventId, text };
}

/** Send a form; it is kept in memory only until it is accepted, since it may hold secrets. */
function sendForm(said) {
  if (conversation.drafts.of(said.form).sending) return; // pressed twice
  const frame = { type: "form", event_id: storage.newId(), ...said };
  conversation.fill(frame);
  timeline.changed();
  if (connection.state === "ready") connection.send(frame);
}

function discard(turn) {
  storage.forgetUnsent(entry.id, turn.eventId);
  conversation.unsay(turn.eventId);
  timeline.changed();
}

/** Ask the run of a turn to stop; its end comes as an answer. */
async function stop(turn) {
  const asked = (isAsked) => (conversation.stopping(turn, isAsked), timeline.changed());
  asked(true);
  const response = await fetch(`/v1/runs/${encodeURIComponent(turn.run.id)}/cancel`, { method: "POST" }).catch(() => null);
  if (response?.ok) return;
  asked(false);
  const told = response ? await response.json().catch(() => ({})) : { detail: say("offline") };
  status.notice(say("stop_failed", { detail: told.detail ?? `HTTP ${response.status}` }));
}

/** Send again what is not accepted: the same event ids, so that nothing happens twice. */
function resend(olderThan = 0) {
  const before = new Date(Date.now() - olderThan).toISOString();
  for (const record of storage.unsent(entry.id)) if (!record.problem && record.at <= before) connection.send(messageFrame(record));
}

function ready() {
  resend();
  for (const frame of conversation.drafts.unaccepted()) connection.send(frame);
  if (!catalogue) loadCommands();
}

function receive(frame) {
  if (frame.type === "ready") return welcome(frame);
  if (frame.type === "problem") problem(frame);
  if (frame.type === "accepted") storage.forgetUnsent(entry.id, frame.event_id);
  conversation.apply(frame);
  if (frame.type === "entry") entryCame(frame);
  if (frame.type === "entry" && frame.form?.state === "open") formCame(frame);
  if (conversation.gap) resync();
  timeline.changed();
}

function welcome(frame) {
  refusal = null;
  version ??= frame.version;
  if (frame.version !== version) status.notice(say("updated"), { label: say("reload"), run: () => location.reload() });
}

function problem({ title, detail, event_id: eventId }) {
  const record = eventId && storage.unsent(entry.id).find((each) => each.event_id === eventId);
  if (record) storage.keepUnsent(entry.id, { ...record, problem: detail || title });
  else if (conversation.drafts.ofEvent(eventId)) return; // told in the form
  else if (connection.state !== "ready") refusal = { title, detail };
  else status.notice(say("problem", { title, detail: detail ?? "" }));
}

/** Close a form when its time is over; put the cursor into one that answers what was just said here. */
function formCame({ form, message_id: messageId, at }) {
  const here = conversation;
  setTimeout(() => (here.expire(form.key), timeline.changed()), form.left_s * 1000);
  const isNew = connection.state === "ready" && Date.now() - new Date(at) < 10_000;
  if (isNew && here.saidHere(messageId) && document.activeElement === byId("box") && !byId("box").value) here.drafts.of(form.key).focus = true;
}

function entryCame({ role, text, at }) {
  if (role !== "user" && text && connection.state === "ready" && Date.now() - new Date(at) < 60_000) announce(text);
  if (role !== "user" || entry.title) return;
  entry = { ...entry, title: text.trim().replace(/\s+/g, " ").slice(0, TITLE_LENGTH), at };
  storage.keepConversation(entry);
  composer.setHistory(conversation.said());
  heading();
}

/** Some progress was lost on the way: connect anew, which brings a snapshot; not more often than every few seconds. */
function resync() {
  conversation.gap = false;
  if (Date.now() - resyncedAt < RESYNC_MS) return;
  resyncedAt = Date.now();
  connection.open();
}

/** Why the connection fails: the session, or this address of the page, which the gateway does not know as its own. */
async function diagnose(failures) {
  const response = await fetch("/v1/commands", { cache: "no-store" }).catch(() => null);
  if (response?.status === 401) return "locked";
  if (refusal) status.notice(say("problem", { title: refusal.title, detail: refusal.detail ?? "" }));
  return response?.ok && failures >= BLOCKED_AFTER ? "blocked" : null;
}

async function loadCommands() {
  const response = await fetch("/v1/commands", { cache: "no-store" }).catch(() => null);
  if (!response?.ok) return status.notice(say("commands_failed", { detail: response ? `HTTP ${response.status}` : say("offline") }));
  catalogue = await response.json();
  showCommands();
}

function showCommands() {
  const commands = readCommands(catalogue, locale());
  composer.setCommands(commands);
  byId("starters").replaceChildren(...commands.slice(0, 4).map(({ name, description, fields }) =>
    el("li", {}, el("button", { type: "button", onclick: () => composer.write(`/${name}${fields.length ? " " : ""}`) }, el("b", {}, `/${name}`), el("span", {}, description)))));
}

function heading() {
  byId("heading").textContent = entry.title || say("untitled");
  document.title = entry.title ? `${entry.title} · Runbell` : "Runbell";
  sidebar.draw(storage.conversations(), entry.id);
}

function fresh() {
  return { id: storage.newId(), channel: "web", title: "", at: new Date().toISOString() };
}

function drop(dropped) {
  storage.dropConversation(dropped.id);
  if (dropped.id === entry.id) open(storage.conversations()[0] ?? fresh());
  else heading();
}

/** The conversation that the address names, else the latest one, else a new one. */
function addressed() {
  const query = new URLSearchParams(location.search);
  const id = query.get("conversation");
  const known = storage.conversations();
  if (!id) return known[0] ?? fresh();
  return known.find((each) => each.id === id) ?? { ...fresh(), id, channel: query.get("channel") ?? "web" };
}

function choosers() {
  const theme = byId("theme");
  const language = byId("language");
  theme.value = storage.readTheme();
  language.value = storage.read("language", "auto");
  theme.addEventListener("change", () => {
    if (theme.value === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme.value;
    storage.writeTheme(theme.value);
  });
  language.addEventListener("change", () => {
    storage.write("language", language.value);
    translate(language.value);
    timeline.renew();
    heading();
    if (catalogue) showCommands();
    status.show(connection.state, connection.retryAt);
  });
}

function translate(choice) {
  setLanguage(choice);
  fill(document);
}

function start() {
  translate(storage.read("language", "auto"));
  choosers();
  byId("new").addEventListener("click", () => (open(fresh()), sidebar.close(), byId("box").focus()));
  addEventListener("popstate", () => open(addressed(), { record: null }));
  addEventListener("online", () => connection.retry());
  addEventListener("pagehide", writeDraft);
  addEventListener("offline", () => connection.open());
  document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && connection.retry());
  document.addEventListener("keydown", (event) => {
    const isTyping = event.target.closest("input, textarea, select") || event.ctrlKey || event.metaKey || event.altKey;
    if (event.key === "/" && !isTyping) byId("box").focus(); // the key itself then goes into the box
  });
  setInterval(() => connection.state === "ready" && resend(RESEND_MS), RESEND_MS);
  open(addressed(), { record: "replaceState", typed: byId("box").value }); // typed before this script came
  byId("box").focus({ preventScroll: true });
}

start();
