// What this tab knows of open forms: what is typed, what is wrong, what is on its way. No DOM, no words.
//
// In memory only, since any of it may be a secret.

export class Drafts {
  #byKey = new Map();

  /** The draft of a form: {values, errors, problem, sending, focus}; `sending` is {frame, messageId} until it is answered. */
  of(key) {
    if (!this.#byKey.has(key)) this.#byKey.set(key, { values: {}, errors: {}, problem: null, sending: null, focus: false });
    return this.#byKey.get(key);
  }

  all() {
    return [...this.#byKey];
  }

  forget(key) {
    this.#byKey.delete(key);
  }

  /** A form is sent; the same frame again, after a lost connection, counts once. */
  send(frame) {
    Object.assign(this.of(frame.form), { sending: { frame, messageId: null }, errors: {}, problem: null });
  }

  /** Frames that are not accepted yet. */
  unaccepted() {
    return this.all().filter(([, { sending }]) => sending?.frame).map(([, { sending }]) => sending.frame);
  }

  accepted(eventId, messageId) {
    const key = this.#sentAs(({ frame }) => frame?.event_id === eventId);
    if (key) this.of(key).sending = { frame: null, messageId };
  }

  /** A form came back: it can be corrected, and the cursor goes there if it was sent from here. */
  back(key, problem = null) {
    const draft = this.of(key);
    Object.assign(draft, { focus: Boolean(draft.sending), sending: null, errors: {}, problem });
  }

  /** The key of the form that was sent as this event. */
  ofEvent(eventId) {
    return this.#sentAs(({ frame }) => frame?.event_id === eventId);
  }

  /** The key of the form that was accepted as this message. */
  ofMessage(id) {
    return this.#sentAs(({ messageId }) => messageId === id);
  }

  #sentAs(test) {
    return this.all().find(([, { sending }]) => sending && test(sending))?.[0];
  }
}
