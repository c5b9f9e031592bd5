// A form in the conversation: what a command still needs, a field each; once it is final, one line that says so.

import { el, icon } from "./dom.js";
import { region, say } from "./words.js";

const WELL_FORMED = { date: /^\d{4}-\d\d-\d\d$/, datetime: /^\d{4}-\d\d-\d\dT\d\d:\d\d/, number: /^-?\d+(\.\d+)?$/ };
const SPEAKING = new Set(["choice", "boolean", "date", "datetime"]);
const TYPES = { number: "number", date: "date", datetime: "datetime-local", secret: "password" };

/**
 * Draw the form of an answer. `draft` is what this tab knows of it (drafts.js).
 * `actions`: fill(form, values), unreadable(form, errors), takeBack(form).
 */
export function formBody(answer, draft, actions) {
  const { form } = answer;
  const attributes = { class: "said by-bell asking", "data-entry": answer.id, "data-form": form.key, "data-state": form.state };
  if (form.state !== "open") return el("article", { ...attributes, "aria-label": say("bell") }, ended(form));
  const id = (part) => `form-${form.key}-${part}`;
  const inputs = new Map(form.questions.map((question, index) => [question.name, control(question, draft, id(index))]));
  const submit = (event) => {
    event.preventDefault();
    send(form, inputs, actions);
  };
  return el("article", { ...attributes, "aria-label": say("bell") },
    el("form", { class: "form", novalidate: true, "aria-labelledby": id("title"), "aria-busy": String(Boolean(draft.sending)), onsubmit: submit },
      el("h3", { id: id("title"), class: "form-title" }, say("form_title", { command: form.title })),
      known(form),
      draft.problem ? el("p", { class: "form-problem", role: "alert", tabindex: "-1" }, say(draft.problem.closed ? "form_closed" : "form_refused", { problem: draft.problem.detail })) : null,
      el("fieldset", { disabled: Boolean(draft.sending) },
        form.questions.map((question, index) => field(question, inputs.get(question.name), draft, id(index))),
        el("div", { class: "form-end" },
          el("button", { type: "submit", class: "primary" }, draft.sending ? say("form_sending") : form.submit),
          el("button", { type: "button", class: "quiet", onclick: () => actions.takeBack(form) }, say("form_cancel")),
          el("span", { class: "form-until" }, say("form_until", { time: new Date(form.until).toLocaleTimeString(region(), { hour: "2-digit", minute: "2-digit" }) }))))));
}

/** Put the cursor where it is needed: into the first field that is wrong, else the first one. */
export function focusForm(root, key) {
  const form = root.querySelector(`[data-form="${CSS.escape(key)}"]`);
  const first = form?.querySelector("[aria-invalid=true], .form-problem") ?? form?.querySelector("input, select, textarea");
  first?.focus({ preventScroll: true });
  first?.closest(".field, .form-problem").scrollIntoView({ block: "nearest" });
}

function ended({ title, state }) {
  return el("p", { class: "form-ended" }, icon(state === "answered" ? "check" : "skip"), el("code", {}, title), el("span", {}, say(`form_${state}`)));
}

function known(form) {
  const facts = Object.entries(form.known);
  return facts.length ? el("dl", { class: "form-known" }, facts.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, shown(value))))) : null;
}

function shown(value) {
  return typeof value === "string" ? value : JSON.stringify(value);
}

function field(question, input, draft, id) {
  const error = errorOf(question, draft);
  return el("div", { class: "field", "data-field": question.name },
    el("label", { for: id }, question.label, question.label === question.name ? null : el("code", {}, question.name)),
    input,
    el("p", { class: "field-hint", id: `${id}-hint` }, hintOf(question, error)),
    error ? el("p", { class: "field-error", id: `${id}-error` }, icon("cross"), error) : null);
}

/** What a value must be, unless its control, or the error below, says so. */
function hintOf({ kind, hint }, error) {
  const told = SPEAKING.has(kind) || error?.includes(hint) ? "" : hint;
  return [told, kind === "secret" ? say("form_sealed") : ""].filter(Boolean).join(" · ");
}

function errorOf(question, draft) {
  return draft.errors[question.name] ?? question.error;
}

function control(question, draft, id) {
  const error = errorOf(question, draft);
  const common = {
    id, name: question.name, required: question.required, "aria-invalid": error ? "true" : null,
    "aria-describedby": error ? `${id}-error ${id}-hint` : `${id}-hint`, autocomplete: question.kind === "secret" ? "new-password" : "off",
    oninput: (event) => (draft.values[question.name] = event.target.value),
  };
  const value = draft.values[question.name] ?? question.value;
  if (question.kind === "choice" || question.kind === "boolean") return select(question, common, value);
  if (question.kind === "long_text") return el("textarea", { ...common, rows: "4" }, value);
  const readable = (WELL_FORMED[question.kind] ?? /^/).test(value);
  const type = TYPES[question.kind] ?? "text";
  return el("input", { ...common, type, step: type === "number" ? "any" : null, spellcheck: type === "text" ? null : "false", value: readable ? type === "datetime-local" ? value.slice(0, 16) : value : null });
}

function select(question, common, value) {
  const yesNo = [{ text: "true", label: say("yes") }, { text: "false", label: say("no") }];
  const options = question.options.length ? question.options : yesNo;
  return el("select", common,
    el("option", { value: "", selected: !options.some(({ text }) => text === value) }, say("form_choose")),
    options.map(({ text, label }) => el("option", { value: text, selected: text === value }, label)));
}

function send(form, inputs, actions) {
  const unreadable = form.questions.filter(({ name }) => inputs.get(name).validity.badInput);
  if (unreadable.length) {
    actions.unreadable(form, Object.fromEntries(unreadable.map(({ name, hint }) => [name, say("form_unreadable", { hint })])));
  } else {
    actions.fill(form, Object.fromEntries([...inputs].map(([name, input]) => [name, said(input)])));
  }
}

/** What a field says. A picked instant is one of this browser's time zone, whichever its reader has. */
function said({ type, value }) {
  if (type !== "datetime-local" || !value) return value;
  const minutes = -new Date(value).getTimezoneOffset();
  const two = (number) => String(Math.floor(number)).padStart(2, "0");
  return `${value}${minutes < 0 ? "-" : "+"}${two(Math.abs(minutes) / 60)}:${two(Math.abs(minutes) % 60)}`;
}
