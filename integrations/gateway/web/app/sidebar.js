// The list of conversations, and the drawer that it becomes on a narrow screen.

import { el, icon } from "./dom.js";
import { region, say } from "./words.js";

export class Sidebar {
  /** `onopen(entry)` and `ondrop(entry)` are called for a conversation of the list. */
  constructor({ aside, list, opener, shade, onopen, ondrop }) {
    Object.assign(this, { aside, list, opener, shade, onopen, ondrop });
    this.narrow = matchMedia("(max-width: 860px)");
    this.narrow.addEventListener("change", () => this.close());
    opener.addEventListener("click", () => (this.isOpen ? this.close() : this.open()));
    shade.addEventListener("click", () => this.close());
    document.addEventListener("keydown", (event) => event.key === "Escape" && this.isOpen && this.close());
    this.close();
  }

  get isOpen() {
    return this.aside.classList.contains("open");
  }

  open() {
    this.#set(true);
    this.aside.querySelector("button").focus();
  }

  close() {
    const hadFocus = this.aside.contains(document.activeElement);
    this.#set(false);
    if (hadFocus && this.narrow.matches) this.opener.focus();
  }

  draw(conversations, current) {
    if (!conversations.length) return this.list.replaceChildren(el("li", { class: "none" }, say("empty_list")));
    this.list.replaceChildren(...conversations.map((entry) => this.#item(entry, entry.id === current)));
  }

  #item(entry, isCurrent) {
    const title = entry.title || say("untitled");
    return el("li", {},
      el("a", { href: `?conversation=${encodeURIComponent(entry.id)}`, "aria-current": isCurrent ? "page" : null, onclick: (event) => this.#follow(event, entry) },
        el("span", { class: "title" }, title), el("span", { class: "when" }, when(entry.at))),
      el("button", { type: "button", class: "drop", "aria-label": say("drop", { title }), title: say("drop", { title }), onclick: () => this.ondrop(entry) }, icon("cross")));
  }

  #follow(event, entry) {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return; // a new tab or window
    event.preventDefault();
    this.onopen(entry);
    this.close();
  }

  #set(open) {
    this.aside.classList.toggle("open", open);
    this.shade.hidden = !open;
    this.opener.setAttribute("aria-expanded", String(open));
    this.aside.inert = this.narrow.matches && !open;
    document.getElementById("main").inert = this.narrow.matches && open;
  }
}

function when(at) {
  const date = new Date(at);
  const isToday = date.toDateString() === new Date().toDateString();
  return isToday ? date.toLocaleTimeString(region(), { hour: "2-digit", minute: "2-digit" }) : date.toLocaleDateString(region(), { day: "numeric", month: "short" });
}
