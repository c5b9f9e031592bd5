// What people and Runbell said: one message each.

import { el, icon } from "./dom.js";
import { isOurFile, render } from "./markdown.js";
import { region, say } from "./words.js";

const LONG_LINES = 12;
const LONG_CHARACTERS = 1200;
/** What the gateway lets a browser show; all else it offers for download only. */
const PICTURES = new Set(["image/png", "image/jpeg", "image/gif", "image/webp"]);

/** A message of the user: plain text, folded when long, with what became of it where it is not accepted. */
export function userBody(turn, actions) {
  const { text, at, state, problem } = turn.user;
  return el("article", { class: "said by-user", "data-state": state, "aria-label": say("you") },
    folded(text),
    el("footer", { class: "meta" }, timestamp(at), state === "unsent" ? el("span", { class: "unsent" }, say(actions.online() ? "unsent" : "unsent_offline")) : null),
    state === "refused" ? refused(turn, problem, actions) : null,
  );
}

/** An answer or a post, with its files and choices. `nextText` is what the user said next, if anything. */
export function answerBody(answer, nextText, actions) {
  return el("article", { class: "said by-bell", "data-entry": answer.id, "data-card": answer.card?.state ?? null, "aria-label": say("bell") },
    el("div", { class: "prose", dir: "auto" }, render(answer.text)),
    (answer.attachments ?? []).length ? el("div", { class: "files" }, answer.attachments.map(attachment)) : null,
    (answer.choices ?? []).length ? choices(answer.choices, nextText, actions) : null,
    el("footer", { class: "meta" }, timestamp(answer.at)),
  );
}

/** The answer so far. */
export function partialBody(turn) {
  return el("article", { class: "said by-bell streaming", "aria-label": say("bell"), "aria-busy": "true" },
    el("div", { class: "prose", dir: "auto" }, render(turn.partial)));
}

function folded(text) {
  const lines = text.split("\n");
  if (lines.length <= LONG_LINES && text.length <= LONG_CHARACTERS) return el("div", { class: "plain", dir: "auto" }, text);
  const short = `${lines.slice(0, LONG_LINES - 4).join("\n").slice(0, LONG_CHARACTERS - 200)}…`;
  const body = el("div", { class: "plain", dir: "auto" }, short);
  const more = lines.length > LONG_LINES
    ? say("show_all", { lines: lines.length.toLocaleString(region()) })
    : say("show_all_characters", { characters: [...text].length.toLocaleString(region()) });
  const button = el("button", { type: "button", class: "quiet", "aria-expanded": "false" }, more);
  button.addEventListener("click", () => {
    const open = button.getAttribute("aria-expanded") === "false";
    button.setAttribute("aria-expanded", String(open));
    body.textContent = open ? text : short;
    button.textContent = open ? say("show_less") : more;
  });
  return el("div", {}, body, button);
}

function refused(turn, problem, actions) {
  return el("div", { class: "refused", role: "alert" },
    el("p", {}, say("refused", { problem })),
    el("div", { class: "row" },
      el("button", { type: "button", onclick: () => actions.resend(turn) }, say("resend")),
      el("button", { type: "button", onclick: () => actions.edit(turn) }, say("edit")),
      el("button", { type: "button", class: "quiet", onclick: () => actions.discard(turn) }, say("discard"))));
}

function choices(all, nextText, actions) {
  const chosen = all.find((choice) => choice.text === nextText);
  return el("div", { class: "choices", role: "group", "aria-label": say("choices") }, all.map((choice) =>
    el("button", { type: "button", class: "choice", "aria-pressed": String(choice === chosen), disabled: Boolean(chosen), onclick: () => actions.say(choice.text) },
      choice === chosen ? icon("check") : null, choice.label)));
}

function attachment({ name, media_type: type, size, url }) {
  if (PICTURES.has(type) && isOurFile(url)) {
    return el("a", { class: "picture", href: url, target: "_blank", rel: "noopener", "aria-label": say("open_file", { name }) },
      el("img", { src: url, alt: name, loading: "lazy" }));
  }
  return el("a", { class: "file", href: isOurFile(url) ? url : null, target: "_blank", rel: "noopener" },
    icon("file"), el("span", {}, name), el("span", { class: "size" }, bytes(size)));
}

function bytes(size) {
  if (size < 1024) return `${size} B`;
  if (size < 1024 ** 2) return `${(size / 1024).toFixed(0)} KB`;
  return `${(size / 1024 ** 2).toFixed(1)} MB`;
}

function timestamp(at) {
  if (!at) return null;
  const date = new Date(at);
  return el("time", { datetime: at, title: date.toLocaleString(region()) }, date.toLocaleTimeString(region(), { hour: "2-digit", minute: "2-digit" }));
}
