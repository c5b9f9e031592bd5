// How the connection stands: the pill in the header, the banner under it, and notices.

import { announce, el } from "./dom.js";
import { say } from "./words.js";

const PATIENCE_MS = 1200; // a short loss shows no banner

export class Status {
  #timer = null;
  #state = null;
  #told = false;

  /** `onretry()` is called by the banner's button. */
  constructor({ pill, banner, notices, onretry }) {
    Object.assign(this, { pill, banner, notices, onretry });
    this.retryAt = 0;
    setInterval(() => this.retryAt > Date.now() && this.#word(), 500);
  }

  show(state, retryAt = 0) {
    this.#state = state;
    this.retryAt = retryAt;
    this.pill.dataset.state = state;
    this.#word();
    if (state === "ready") return this.#calm();
    if (state === "offline" || state === "locked" || state === "blocked") return this.#alarm(state);
    if (!this.#told) this.#timer ??= setTimeout(() => this.#alarm("waiting"), PATIENCE_MS);
  }

  /** Say something that stays until it is dismissed; `action` is {label, run}. The same text is shown once. */
  notice(text, action = null) {
    if ([...this.notices.children].some((node) => node.dataset.text === text)) return;
    const node = el("div", { class: "notice", role: "alert", "data-text": text }, el("p", {}, text),
      action && el("button", { type: "button", onclick: action.run }, action.label),
      el("button", { type: "button", class: "quiet", onclick: () => node.remove() }, say("dismiss")));
    this.notices.append(node);
  }

  #word() {
    const seconds = Math.max(1, Math.ceil((this.retryAt - Date.now()) / 1000));
    this.pill.querySelector("span").textContent = say(this.#state, { seconds });
  }

  #calm() {
    clearTimeout(this.#timer);
    this.#timer = null;
    if (this.#told) announce(say("ready"));
    this.#told = false;
    this.banner.hidden = true;
  }

  #alarm(kind) {
    clearTimeout(this.#timer);
    this.#timer = null;
    this.#told = true;
    this.banner.dataset.kind = kind;
    this.banner.replaceChildren(el("p", {}, say(`${kind}_text`, { origin: location.origin })), el("button", { type: "button", onclick: this.onretry }, say(kind === "locked" ? "again" : "retry")));
    this.banner.hidden = false;
  }
}
