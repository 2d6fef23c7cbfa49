// The WebSocket: comes back by itself, and knows how the server's clock differs from ours.

const PING_MS = 2000;
const SILENCE_MS = 6000;
const ANSWER_MS = 25000;

export const localNow = () => performance.timeOrigin + performance.now();

export class Connection extends EventTarget {
  #socket = null;
  #handlers = new Map();
  #waiting = new Map();
  #requests = 0;
  #pause = 300;
  #heard = 0;
  #pings = [];
  offset = 0; // server's clock minus ours, milliseconds
  roundTrip = 0;

  /** Call a function with each message of a kind; "picture" gets (header, jpeg, heatmap). */
  on(kind, handler) {
    this.#handlers.set(kind, handler);
    return this;
  }

  open() {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = new WebSocket(`${scheme}://${location.host}/socket`);
    socket.binaryType = "arraybuffer";
    this.#socket = socket;
    this.#heard = performance.now();
    socket.onopen = () => {
      this.#pause = 300;
      this.#pings = [];
      this.#ping();
      this.dispatchEvent(new Event("open"));
    };
    socket.onmessage = ({ data }) => {
      this.#heard = performance.now();
      if (typeof data === "string") this.#text(JSON.parse(data));
      else this.#picture(data);
    };
    const timer = setInterval(() => {
      if (socket.readyState === WebSocket.OPEN) this.#ping();
      // A link that broke off without a word: the browser would wait for minutes.
      if (performance.now() - this.#heard > SILENCE_MS) end();
    }, PING_MS);
    const end = () => {
      if (socket !== this.#socket) return;
      this.#socket = null;
      clearInterval(timer);
      socket.onclose = socket.onmessage = null;
      socket.close();
      for (const { reject } of this.#waiting.values()) reject(new Error("The connection was lost."));
      this.#waiting.clear();
      this.dispatchEvent(new Event("close"));
      setTimeout(() => this.open(), this.#pause);
      this.#pause = Math.min(5000, this.#pause * 1.7);
    };
    socket.onclose = end;
  }

  send(type, content = {}) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(JSON.stringify({ type, ...content }));
    return true;
  }

  /** Send a command; resolves to the answer {success, message, ...}. */
  ask(type, content = {}) {
    const request = ++this.#requests;
    return new Promise((resolve, reject) => {
      if (!this.send(type, { request, ...content })) {
        reject(new Error("There is no connection to the console."));
        return;
      }
      this.#waiting.set(request, { resolve, reject });
      setTimeout(() => {
        if (this.#waiting.delete(request)) reject(new Error("The console has not answered."));
      }, ANSWER_MS);
    });
  }

  /** Now, on the server's clock, in milliseconds. */
  now() {
    return localNow() + this.offset;
  }

  #ping() {
    this.send("ping", { at: localNow() });
  }

  #text(message) {
    if (message.type === "pong") {
      const roundTrip = localNow() - message.at;
      this.#pings.push([roundTrip, message.now - message.at - roundTrip / 2]);
      if (this.#pings.length > 10) this.#pings.shift();
      // The quickest exchange tells the clocks apart best.
      [this.roundTrip, this.offset] = this.#pings.reduce((a, b) => (b[0] < a[0] ? b : a));
    } else if (message.type === "answer") {
      this.#waiting.get(message.request)?.resolve(message);
      this.#waiting.delete(message.request);
    } else {
      this.#handlers.get(message.type)?.(message);
    }
  }

  #picture(buffer) {
    const length = new DataView(buffer).getUint32(0, true);
    const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
    const start = 4 + length;
    const jpeg = new Uint8Array(buffer, start, header.jpeg);
    const heatmap = header.heatmap ? new Uint8Array(buffer, start + header.jpeg, header.heatmap) : null;
    this.#handlers.get("picture")?.(header, jpeg, heatmap);
  }
}
