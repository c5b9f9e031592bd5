// What this browser keeps: conversations, drafts, messages that are not accepted yet, choices of theme and language.
// One key per unsent message, so that two open tabs never overwrite each other's.

const PREFIX = "runbell.";
const MAX_CONVERSATIONS = 100;

/** Write a value; false when the browser refuses (full or forbidden). */
export function write(key, value) {
  try {
    localStorage.setItem(PREFIX + key, JSON.stringify(value));
    return true;
  } catch {
    return false;
  }
}

export function read(key, fallback) {
  try {
    const text = localStorage.getItem(PREFIX + key);
    return text === null ? fallback : JSON.parse(text);
  } catch {
    return fallback;
  }
}

export function remove(key) {
  try {
    localStorage.removeItem(PREFIX + key);
  } catch {
    // Storage is forbidden: nothing was kept.
  }
}

/** Theme is read by early.js as plain text, hence not JSON. */
export function writeTheme(theme) {
  try {
    if (theme === "auto") localStorage.removeItem(`${PREFIX}theme`);
    else localStorage.setItem(`${PREFIX}theme`, theme);
  } catch {
    // Kept for this page only.
  }
}

export function readTheme() {
  return document.documentElement.dataset.theme ?? "auto";
}

/** Messages of a conversation that the gateway has not accepted, oldest first: {event_id, text, at, problem?}. */
export function unsent(conversation) {
  const start = `${PREFIX}unsent/${conversation}/`;
  const keys = Object.keys(localStorageOrNothing()).filter((key) => key.startsWith(start));
  const records = keys.map((key) => read(key.slice(PREFIX.length), null)).filter(Boolean);
  return records.sort((a, b) => (a.at < b.at ? -1 : 1));
}

export function keepUnsent(conversation, record) {
  return write(`unsent/${conversation}/${record.event_id}`, record);
}

export function forgetUnsent(conversation, eventId) {
  remove(`unsent/${conversation}/${eventId}`);
}

/** Conversations, the latest first: {id, channel, title, at}. */
export function conversations() {
  return read("conversations", []);
}

/** Put a conversation on top of the list, or change it; the oldest beyond the bound are forgotten here only. */
export function keepConversation(entry) {
  const others = conversations().filter((other) => other.id !== entry.id);
  const all = [entry, ...others].sort((a, b) => (a.at > b.at ? -1 : 1));
  for (const dropped of all.slice(MAX_CONVERSATIONS)) dropConversation(dropped.id);
  write("conversations", all.slice(0, MAX_CONVERSATIONS));
}

/** Forget a conversation in this browser, with its draft and unsent messages; the server keeps its transcript. */
export function dropConversation(id) {
  write("conversations", conversations().filter((other) => other.id !== id));
  remove(`draft/${id}`);
  for (const record of unsent(id)) forgetUnsent(id, record.event_id);
}

/** A random id; crypto.randomUUID exists only on HTTPS and localhost. */
export function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

function localStorageOrNothing() {
  try {
    return localStorage;
  } catch {
    return {};
  }
}
