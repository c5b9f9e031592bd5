// What is known of one conversation, and how each frame of the protocol changes it. No DOM, no network, no storage.
//
// A turn is what belongs together on the page: a message, the run it started, the answers. Frames may come twice, late
// or after a gap; applying one again changes nothing.

import { Drafts } from "./drafts.js";

const MAX_TURNS = 300;
const SETTLED = new Set(["answered", "failed", "dead"]);

export class Conversation {
  #entries = new Set();
  #byMessage = new Map();
  #byEvent = new Map();
  #own = new Set(); // messages that were said in this tab
  #serial = 0;

  constructor(id) {
    this.id = id;
    this.lastEntry = 0;
    this.turns = new Map(); // key → turn
    this.drafts = new Drafts();
    this.gap = false; // some progress was lost: a new hello brings a snapshot
  }

  /** Show a message that is not accepted yet; the same event id again changes nothing. */
  say({ event_id: eventId, text, at, problem = null }) {
    const known = this.#byEvent.get(eventId);
    if (known) return known;
    const turn = this.#turn(`event:${eventId}`);
    turn.eventId = eventId;
    turn.user = { text, at, state: problem ? "refused" : "unsent", problem };
    this.#byEvent.set(eventId, turn);
    return turn;
  }

  /** Take back a message that was never accepted. */
  unsay(eventId) {
    const turn = this.#byEvent.get(eventId);
    if (!turn || turn.messageId) return;
    this.turns.delete(turn.key);
    this.#byEvent.delete(eventId);
  }

  apply(frame) {
    const handlers = {
      entry: this.#entry, snapshot: this.#snapshot, accepted: this.#accepted, progress: this.#progress,
      settled: this.#settled, problem: this.#problem,
    };
    handlers[frame.type]?.call(this, frame);
  }

  /** Show whether a turn's run was asked to stop. */
  stopping(turn, isAsked) {
    turn.stopping = isAsked;
    turn.version++;
  }

  /** Send a form. */
  fill(frame) {
    this.drafts.send(frame);
    this.#drawn(frame.form);
  }

  /** Tell what is wrong in a form before it is sent. */
  unreadable(key, errors) {
    Object.assign(this.drafts.of(key), { errors, focus: true });
    this.#drawn(key);
  }

  /** Close a form if its time is over; one that was asked for once more has longer. */
  expire(key) {
    const form = this.#formOf(key)?.form;
    if (form?.state === "open" && form.until <= Date.now()) this.#end({ key, state: "expired" });
  }

  /** Turns in the order of the page. */
  ordered() {
    return [...this.turns.values()].sort((a, b) => a.order - b.order || a.serial - b.serial);
  }

  /** Whether a message was said in this tab. */
  saidHere(messageId) {
    return this.#own.has(messageId);
  }

  /** Texts that were said here, oldest first. */
  said() {
    return this.ordered().filter((turn) => turn.user?.text).map((turn) => turn.user.text);
  }

  #entry(entry) {
    if (this.#entries.has(entry.id)) return;
    this.#entries.add(entry.id);
    this.lastEntry = Math.max(this.lastEntry, entry.id);
    if (entry.role === "form") return this.#end(entry.form);
    if (entry.form?.state === "open") entry.form.until = Date.now() + entry.form.left_s * 1000;
    const turn = entry.message_id ? this.#turnOf(entry.message_id) : this.#turn(`entry:${entry.id}`);
    if (entry.role === "user") this.#userEntry(turn, entry);
    else this.#answer(turn, entry);
    this.#bound();
  }

  #userEntry(turn, entry) {
    turn.user = { text: entry.text, at: entry.at, state: "accepted", problem: null };
    turn.order = Math.min(turn.order, entry.id);
    this.#linkRun(turn, entry);
    turn.version++;
  }

  #answer(turn, entry) {
    if ((entry.card || entry.form) && this.#renewed(entry)) {
      if (!turn.user && !turn.answers.length) this.turns.delete(turn.key);
      return;
    }
    this.#linkRun(turn, entry);
    turn.partial = "";
    turn.version++;
    const home = this.#isBuried(turn, entry) ? this.#late(turn, entry) : turn;
    home.answers.push(entry);
    home.answers.sort((a, b) => a.id - b.id);
    home.order = Math.min(home.order, entry.id);
    home.version++;
  }

  /** Put a later state of a card or form into the place of the earlier one; false where none is here. */
  #renewed(entry) {
    const keyOf = ({ card, form }) => (card ?? form)?.key;
    for (const turn of this.turns.values()) {
      const at = turn.answers.findIndex((answer) => keyOf(answer) === keyOf(entry) && answer.id < entry.id);
      if (at < 0) continue;
      turn.answers[at] = { ...entry, at: turn.answers[at].at };
      turn.version++;
      if (entry.form) this.#back(entry.form.key);
      return true;
    }
    return false;
  }

  /** The answer that shows a form. */
  #formOf(key) {
    for (const turn of this.turns.values()) {
      const answer = turn.answers.find(({ form }) => form?.key === key);
      if (answer) return answer;
    }
    return null;
  }

  #end({ key, state }) {
    this.drafts.forget(key);
    const answer = this.#formOf(key);
    if (!answer) return;
    answer.form = { key, state, title: answer.form.title };
    this.#drawn(key);
  }

  #back(key, problem) {
    this.drafts.back(key, problem);
    this.#drawn(key);
  }

  #drawn(key) {
    for (const turn of this.turns.values()) if (turn.answers.some(({ form }) => form?.key === key)) turn.version++;
  }

  /** Whether the talk went on, and was answered, after this turn: its answer would appear out of sight. */
  #isBuried(turn, entry) {
    if (!turn.user) return false;
    const answeredLater = (other) => other.user && other.order > turn.order && other.answers.some((a) => a.id < entry.id);
    return [...this.turns.values()].some((other) => other !== turn && answeredLater(other));
  }

  #late(turn, entry) {
    const late = this.#turn(`entry:${entry.id}`);
    late.inAnswerTo = turn.user.text;
    late.run = turn.run;
    return late;
  }

  #snapshot(frame) {
    const turn = this.#turnOf(frame.message_id, frame.event_id);
    if (frame.text) turn.user ??= { text: frame.text, at: null, problem: null };
    if (turn.user) turn.user.state = "accepted";
    turn.status = frame.status;
    if (frame.run_id) turn.run = { ...turn.run, id: frame.run_id, url: frame.run_url };
    if (frame.seq >= turn.seq) {
      turn.seq = frame.seq;
      turn.partial = turn.answers.length ? "" : frame.partial ?? "";
      turn.ops = new Map((frame.ops ?? []).map((op) => [op.op, { state: op.state, ms: op.ms, since: Date.now() - (op.ms ?? 0) }]));
    }
    this.gap = false;
    turn.version++;
  }

  #accepted(frame) {
    const turn = this.#turnOf(frame.message_id, frame.event_id);
    if (turn.user) Object.assign(turn.user, { state: "accepted", problem: null });
    if (!turn.status) turn.status = "received";
    this.#own.add(frame.message_id);
    turn.version++;
    this.drafts.accepted(frame.event_id, frame.message_id);
  }

  #progress(frame) {
    const turn = this.#turnOf(frame.message_id);
    if (frame.seq <= turn.seq) return;
    if (frame.seq > turn.seq + 1 && !SETTLED.has(turn.status)) this.gap = true;
    turn.seq = frame.seq;
    turn.version++;
    this.#body(turn, frame.body);
  }

  #body(turn, body) {
    if (!SETTLED.has(turn.status) && body.type !== "status") turn.status = "running";
    if (body.type === "run") turn.run = { id: body.run_id, url: body.url, job: body.job };
    else if (body.type === "op") this.#op(turn, body);
    else if (body.type === "delta") turn.partial += turn.answers.length ? "" : body.text;
    else if (body.type === "reset") turn.partial = "";
    else if (body.type === "status" && !SETTLED.has(turn.status)) turn.status = body.status;
  }

  #op(turn, { op, state, ms }) {
    const before = turn.ops.get(op);
    turn.ops.set(op, { state, ms: ms ?? before?.ms ?? null, since: state === "started" ? Date.now() : before?.since });
  }

  #settled(frame) {
    const turn = this.#turnOf(frame.message_id);
    turn.status = frame.status;
    turn.version++;
    const key = this.drafts.ofMessage(frame.message_id);
    if (key) this.#back(key); // neither started nor asked for again: its answer says why
  }

  #problem(frame) {
    const key = this.drafts.ofEvent(frame.event_id);
    if (key) return this.#back(key, { closed: Boolean(frame.form), detail: frame.detail || frame.title });
    const turn = frame.event_id && this.#byEvent.get(frame.event_id);
    if (!turn || turn.messageId) return;
    turn.user.state = "refused";
    turn.user.problem = frame.detail || frame.title;
    turn.version++;
  }

  #linkRun(turn, entry) {
    if (entry.run_id) turn.run = { ...turn.run, id: entry.run_id, url: entry.run_url };
  }

  /** The turn of a message; one that was said here under `eventId` becomes it. */
  #turnOf(messageId, eventId = null) {
    const pending = eventId ? this.#byEvent.get(eventId) : undefined;
    let turn = this.#byMessage.get(messageId);
    if (!turn && pending && !pending.messageId) turn = pending;
    turn ??= this.#turn(`message:${messageId}`);
    if (pending && pending !== turn) {
      this.turns.delete(pending.key);
      turn.user ??= pending.user;
    }
    if (eventId) this.#byEvent.set(eventId, turn);
    turn.messageId = messageId;
    this.#byMessage.set(messageId, turn);
    return turn;
  }

  #turn(key) {
    const turn = {
      key, order: Infinity, serial: this.#serial++, version: 0, messageId: null, eventId: null, user: null, answers: [],
      run: null, ops: new Map(), partial: "", seq: 0, status: null, inAnswerTo: null,
      stopping: false,
    };
    this.turns.set(key, turn);
    return turn;
  }

  /** Forget the oldest settled turns on the page; the server keeps them. */
  #bound() {
    if (this.turns.size <= MAX_TURNS) return;
    for (const turn of this.ordered().slice(0, this.turns.size - MAX_TURNS)) {
      if (turn.order === Infinity) continue;
      this.turns.delete(turn.key);
      if (turn.messageId) this.#byMessage.delete(turn.messageId);
      if (turn.eventId) this.#byEvent.delete(turn.eventId);
    }
  }
}

/** Whether nothing more will happen with a turn. */
export function isSettled(turn) {
  return SETTLED.has(turn.status) || (turn.status === null && turn.answers.length > 0);
}
