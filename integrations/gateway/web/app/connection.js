// One WebSocket that comes back: jittered back-off, pings, and a state that the page can show.

const FIRST_WAIT_MS = 400;
const LONGEST_WAIT_MS = 20_000;
const PING_MS = 20_000;
const UNAUTHORIZED = 4401; // the gateway's close code
const SILENCE_MS = 45_000; // two pings and some patience

/**
 * States: connecting → ready → waiting (until `retryAt`) → connecting …; `blocked`, a kind of waiting, when the
 * gateway answers but not here; `locked` when the session is not (or no longer) valid; `offline` without network;
 * `closed` after close().
 */
export class Connection {
  #socket = null;
  #timer = null;
  #ping = null;
  #heardAt = 0;
  #failures = 0;

  /**
   * `url()` and `hello()` are asked anew at every attempt. `diagnose(failures)` resolves to a state that tells more
   * than "waiting", or to null.
   */
  constructor({ url, hello, diagnose, onframe, onstate, random = Math.random }) {
    Object.assign(this, { url, hello, diagnose, onframe, onstate, random });
    this.state = "connecting";
    this.retryAt = 0;
  }

  open() {
    clearTimeout(this.#timer);
    this.#drop();
    if (!navigator.onLine) return this.#become("offline");
    this.#become("connecting");
    const socket = new WebSocket(this.url());
    this.#socket = socket;
    this.#heardAt = Date.now();
    this.#ping = setInterval(() => this.#keepAlive(), PING_MS);
    socket.onopen = () => this.send(this.hello());
    socket.onmessage = (event) => this.#receive(socket, event.data);
    socket.onclose = (event) => this.#lost(socket, event.code);
  }

  /** Send a frame; false when there is no open socket. */
  send(frame) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(JSON.stringify(frame));
    return true;
  }

  /** Connect at once, unless a connection stands. */
  retry() {
    if (this.state !== "ready" && this.state !== "closed") {
      this.#failures = 0;
      this.open();
    }
  }

  close() {
    clearTimeout(this.#timer);
    this.#drop();
    this.#become("closed");
  }

  #receive(socket, data) {
    if (socket !== this.#socket) return;
    this.#heardAt = Date.now();
    const frame = JSON.parse(data);
    if (frame.type === "ready") {
      this.#failures = 0;
      this.#become("ready");
    }
    if (frame.type !== "pong") this.onframe(frame);
  }

  async #lost(socket, code = 0) {
    if (socket !== this.#socket) return;
    this.#drop();
    if (!navigator.onLine) return this.#become("offline");
    this.#wait();
    // A refused handshake looks like any other loss to a browser; a plain request tells the difference.
    const reason = code === UNAUTHORIZED ? "locked" : await this.diagnose(this.#failures);
    if (!reason || this.state !== "waiting") return;
    if (reason === "locked") clearTimeout(this.#timer);
    this.#become(reason);
  }

  #wait() {
    const longest = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** this.#failures++);
    const wait = longest * (0.5 + this.random() / 2);
    this.retryAt = Date.now() + wait;
    this.#timer = setTimeout(() => this.open(), wait);
    this.#become("waiting");
  }

  #keepAlive() {
    if (Date.now() - this.#heardAt > SILENCE_MS) this.#lost(this.#socket);
    else this.send({ type: "ping" });
  }

  #drop() {
    clearInterval(this.#ping);
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
  }

  #become(state) {
    this.state = state;
    this.onstate(state);
  }
}
