// The message box: sending, history, drafts, the count of characters, and the list of suggestions above it.

import { el } from "./dom.js";
import { suggest } from "./suggest.js";
import { region, say } from "./words.js";

export const MAX_TEXT = 100_000; // characters (code points), as integrations/messages.py
const COUNT_FROM = 2_000;
const MANY_LINES = 300;

export class Composer {
  #commands = [];
  #found = null;
  #chosen = 0;
  #history = [];
  #back = 0;

  /** `onsay(text)` sends; `ondraft(text)` is told of every change. */
  constructor({ form, box, list, count, button, onsay, ondraft }) {
    Object.assign(this, { form, box, list, count, button, onsay, ondraft });
    form.addEventListener("submit", (event) => (event.preventDefault(), this.#submit()));
    box.addEventListener("keydown", (event) => this.#key(event));
    box.addEventListener("input", () => (this.#changed(), this.ondraft(box.value)));
    box.addEventListener("paste", (event) => this.#paste(event));
    box.addEventListener("click", () => this.#suggest());
    box.addEventListener("blur", () => this.#close());
  }

  setCommands(commands) {
    this.#commands = commands;
  }

  /** Show a draft, in a conversation whose earlier texts are `history`. */
  load(draft, history) {
    this.setHistory(history);
    this.#put(draft);
    this.#close();
  }

  setHistory(history) {
    this.#history = history;
    this.#back = 0;
  }

  /** Put a text into the box, ready to go on typing. */
  write(text) {
    this.#put(text);
    this.ondraft(text);
    this.box.focus();
    this.#suggest();
  }

  #submit() {
    const text = this.box.value;
    if (!text.trim() || length(text) > MAX_TEXT) return;
    this.#put("");
    this.ondraft("");
    this.#close();
    this.onsay(text);
    this.box.focus();
  }

  #key(event) {
    if (event.isComposing || event.keyCode === 229) return; // an input method is choosing characters
    if (this.#found && this.#listKey(event)) return event.preventDefault();
    if (event.key === "Enter" && !event.shiftKey && !event.altKey) {
      event.preventDefault();
      this.#submit();
    } else if (event.key === "ArrowUp" || event.key === "ArrowDown") this.#historyKey(event);
  }

  /** Handle a key while suggestions are shown; false leaves it to the box. */
  #listKey(event) {
    const last = this.#found.options.length - 1;
    if (event.key === "ArrowDown") this.#choose(this.#chosen === last ? 0 : this.#chosen + 1);
    else if (event.key === "ArrowUp") this.#choose(this.#chosen === 0 ? last : this.#chosen - 1);
    else if (event.key === "Escape") this.#close();
    else if (event.key === "Tab" && !event.shiftKey) this.#accept(this.#chosen);
    else if (event.key === "Enter" && !event.shiftKey && !(this.#found.exact && this.#chosen === 0)) this.#accept(this.#chosen);
    else return false;
    return true;
  }

  /** Insert many lines at once: Chromium's own pasting takes time with their square (2,000 lines: 5 s). */
  #paste(event) {
    const text = event.clipboardData.getData("text/plain").replace(/\r\n?/g, "\n");
    if (text.split("\n").length < MANY_LINES) return;
    event.preventDefault();
    this.box.setRangeText(text, this.box.selectionStart, this.box.selectionEnd, "end");
    this.#changed();
    this.ondraft(this.box.value);
  }

  /** ↑ in an empty box, or while going through the history, brings back what was said. */
  #historyKey(event) {
    const step = event.key === "ArrowUp" ? 1 : -1;
    const shown = this.#back > 0 && this.box.value === this.#history.at(-this.#back);
    if (!(this.box.value === "" || shown)) return;
    const back = Math.min(this.#history.length, Math.max(0, (shown ? this.#back : 0) + step));
    if (back === this.#back && shown) return event.preventDefault();
    event.preventDefault();
    this.#back = back;
    this.#put(back ? this.#history.at(-back) : "");
    this.ondraft(this.box.value);
  }

  #put(text) {
    this.box.value = text;
    this.box.setSelectionRange(text.length, text.length);
    this.#measure();
  }

  #changed() {
    this.#back = 0;
    this.#measure();
    this.#suggest();
  }

  #measure() {
    const characters = length(this.box.value);
    const over = characters - MAX_TEXT;
    const number = (value) => value.toLocaleString(region());
    this.count.hidden = characters < COUNT_FROM;
    this.count.textContent = over > 0 ? say("too_long", { over: number(over) }) : say("count", { count: number(characters), max: number(MAX_TEXT) });
    this.count.classList.toggle("over", over > 0);
    this.box.setAttribute("aria-invalid", String(over > 0));
    this.button.disabled = over > 0 || !this.box.value.trim();
    this.#grow();
  }

  #grow() {
    if (CSS.supports("field-sizing", "content")) return;
    this.box.style.height = "auto";
    this.box.style.height = `${this.box.scrollHeight}px`;
  }

  #suggest() {
    this.#found = suggest(this.box.value, this.box.selectionStart, this.#commands);
    if (!this.#found) return this.#close();
    this.list.replaceChildren(...this.#found.options.map((option, index) => this.#option(option, index)));
    this.list.hidden = false;
    this.#choose(0);
  }

  #option({ label, hint, detail, field }, index) {
    const marks = field ? [field.required ? say("required") : null, field.value !== undefined && field.value !== null ? say("default", { value: JSON.stringify(field.value) }) : null] : [];
    return el("li", { role: "option", id: `suggestion-${index}`, onpointerdown: (event) => (event.preventDefault(), this.#accept(index)) },
      el("span", { class: "suggestion-name" }, label), el("span", { class: "suggestion-hint" }, [hint, ...marks].filter(Boolean).join(" · ")),
      el("span", { class: "suggestion-detail" }, detail));
  }

  #choose(index) {
    this.#chosen = index;
    [...this.list.children].forEach((node, each) => node.setAttribute("aria-selected", String(each === index)));
    this.list.children[index].scrollIntoView({ block: "nearest" });
    this.box.setAttribute("aria-activedescendant", `suggestion-${index}`);
  }

  #accept(index) {
    const { start, options } = this.#found;
    const { insert } = options[index];
    const rest = this.box.value.slice(this.box.selectionStart);
    this.box.value = this.box.value.slice(0, start) + insert + rest;
    this.box.setSelectionRange(start + insert.length, start + insert.length);
    this.ondraft(this.box.value);
    this.#changed();
    if (this.#found?.exact && !insert.endsWith(" ") && !insert.endsWith("=")) this.#close();
  }

  #close() {
    this.#found = null;
    this.list.hidden = true;
    this.box.removeAttribute("aria-activedescendant");
  }
}

/** Characters as the server counts them: code points. */
function length(text) {
  return text.length - (text.match(/[\ud800-\udbff][\udc00-\udfff]/g)?.length ?? 0);
}
