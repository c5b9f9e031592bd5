// Turns → the list on the page. Only turns whose version changed are drawn anew; a streaming answer redraws its text only.

import { answerBody, partialBody, userBody } from "./bubble.js";
import { el } from "./dom.js";
import { focusForm, formBody } from "./form.js";
import { isSettled } from "./conversation.js";
import { duration, strip, tick } from "./strip.js";
import { region, say } from "./words.js";

const NEAR_PX = 120;
const TICK_MS = 200;

export class Timeline {
  #views = new Map(); // turn key → {node, version}
  #queued = false;
  #drawnIn = 0;
  #follow = true;
  #conversation = null;

  /** `actions`: say(text), edit(turn), resend(turn), discard(turn), stop(turn), online(), and those of a form. */
  constructor({ list, scroller, empty, latest, actions }) {
    Object.assign(this, { list, scroller, empty, latest, actions });
    scroller.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    latest.addEventListener("click", () => this.toEnd({ smooth: true }));
    const observer = new ResizeObserver(() => this.#follow && this.toEnd());
    observer.observe(list);
    observer.observe(scroller);
    setInterval(() => tick(list), TICK_MS);
  }

  /** Show another conversation, from nothing. */
  show(conversation) {
    this.#conversation = conversation;
    this.#views.clear();
    this.list.replaceChildren();
    this.#follow = true;
    this.#draw();
    this.toEnd();
  }

  /** Draw all again, in a new language for instance. */
  renew() {
    this.#views.clear();
    this.list.replaceChildren();
    this.#draw();
  }

  /** Draw what changed, soon: many tokens make one drawing, and a costly drawing makes fewer. */
  changed() {
    if (this.#queued) return;
    this.#queued = true;
    setTimeout(() => requestAnimationFrame(() => this.#draw()), Math.min(400, this.#drawnIn * 3));
  }

  toEnd({ smooth = false } = {}) {
    this.#follow = true;
    this.scroller.scrollTo({ top: this.scroller.scrollHeight, behavior: smooth && calm() ? "smooth" : "instant" });
    this.latest.hidden = true;
  }

  #draw() {
    const began = performance.now();
    this.#queued = false;
    const turns = this.#conversation.ordered();
    this.empty.hidden = turns.length > 0;
    this.#dropGone(new Set(turns.map((turn) => turn.key)));
    turns.forEach((turn, index) => this.#place(turn, turns, index));
    if (this.#follow) this.toEnd();
    else this.latest.hidden = this.#nearEnd();
    this.#focus();
    this.#drawnIn = performance.now() - began;
  }

  #focus() {
    for (const [key, draft] of this.#conversation.drafts.all()) {
      if (!draft.focus) continue;
      draft.focus = false;
      focusForm(this.list, key);
      this.#follow = this.#nearEnd(); // the field stays in sight, though the form may end below
    }
  }

  #dropGone(present) {
    for (const [key, view] of this.#views) {
      if (present.has(key)) continue;
      view.node.remove();
      this.#views.delete(key);
    }
  }

  #place(turn, turns, index) {
    const stamp = `${turn.version} ${this.#context(turn, turns, index)}`;
    let view = this.#views.get(turn.key);
    if (!view) {
      view = { node: el("li", { class: "turn" }), stamp: null };
      this.#views.set(turn.key, view);
    }
    if (view.stamp !== stamp) {
      this.#fill(view, turn, turns, index);
      view.stamp = stamp;
    }
    if (this.list.children[index] !== view.node) this.list.insertBefore(view.node, this.list.children[index] ?? null);
  }

  /** What a turn's drawing depends on besides itself. */
  #context(turn, turns, index) {
    const next = turns.slice(index + 1).find((other) => other.user);
    return `${dayOf(turns[index - 1]) === dayOf(turn)} ${next?.user.text.slice(0, 200) ?? ""} ${turn.user?.state === "unsent" && this.actions.online()}`;
  }

  #fill(view, turn, turns, index) {
    const next = turns.slice(index + 1).find((other) => other.user);
    const day = dayOf(turn);
    const parts = [
      day && day !== dayOf(turns[index - 1]) ? el("div", { class: "day" }, dayWord(day)) : null,
      turn.user ? this.#kept(view, "user", JSON.stringify(turn.user) + this.actions.online(), () => userBody(turn, this.actions)) : null,
      turn.inAnswerTo ? el("p", { class: "in-answer-to" }, say("in_answer_to", { text: turn.inAnswerTo.slice(0, 80) })) : null,
      turn.user || turn.ops.size ? strip(turn, this.actions) : null,
      turn.partial ? partialBody(turn) : null,
      ...turn.answers.map((answer) => this.#answer(view, answer, next?.user.text)),
      isSettled(turn) && turn.status !== null && turn.status !== "answered" && !turn.answers.length && !turn.partial ? el("p", { class: "no-answer", role: "alert" }, say("no_answer")) : null,
    ];
    view.node.dataset.message = turn.messageId ?? "";
    view.node.dataset.status = turn.status ?? "";
    const total = [...turn.ops.values()].reduce((sum, op) => sum + (op.ms ?? 0), 0);
    if (total) view.node.title = duration(total);
    place(view.node, parts.filter(Boolean));
  }

  #answer(view, answer, nextText) {
    if (!answer.form) return this.#kept(view, `answer ${answer.id}`, nextText ?? "", () => answerBody(answer, nextText, this.actions));
    const { state, key } = answer.form;
    const draft = state === "open" ? this.#conversation.drafts.of(key) : {};
    const stamp = JSON.stringify([state, draft.errors, draft.problem, Boolean(draft.sending)]);
    return this.#kept(view, `answer ${answer.id}`, stamp, () => formBody(answer, draft, this.actions));
  }

  /** Draw a part once per `stamp`: selections, open images and scrolled code survive what happens around them. */
  #kept(view, name, stamp, draw) {
    view.parts ??= new Map();
    const known = view.parts.get(name);
    if (known?.stamp === stamp) return known.node;
    const node = draw();
    view.parts.set(name, { stamp, node });
    return node;
  }

  #nearEnd() {
    const { scrollTop, scrollHeight, clientHeight } = this.scroller;
    return scrollHeight - scrollTop - clientHeight < NEAR_PX;
  }

  #scrolled() {
    this.#follow = this.#nearEnd();
    if (this.#follow) this.latest.hidden = true;
  }
}

/** Replace children without touching those that stay, so that focus and selection stay too. */
function place(node, parts) {
  for (const child of [...node.children]) if (!parts.includes(child)) child.remove();
  parts.forEach((part, index) => {
    if (node.children[index] !== part) node.insertBefore(part, node.children[index] ?? null);
  });
}

function calm() {
  return !matchMedia("(prefers-reduced-motion: reduce)").matches;
}

function dayOf(turn) {
  const at = turn?.user?.at ?? turn?.answers[0]?.at;
  return at ? new Date(at).toDateString() : null;
}

function dayWord(day) {
  const today = new Date();
  if (day === today.toDateString()) return say("today");
  if (day === new Date(today.getTime() - 86_400_000).toDateString()) return say("yesterday");
  return new Date(day).toLocaleDateString(region(), { weekday: "long", day: "numeric", month: "long", year: "numeric" });
}
