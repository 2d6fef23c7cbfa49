// Diagnostics in plain words, and what the link to this browser carries.

import { $, element } from "./dom.js";

const WINDOW_MS = 5000;

export class System {
  #status = { lines: [] };
  #pictures = [];
  #header = null;
  #foreign = false;

  setStatus(status) {
    this.#status = status;
    this.#render();
  }

  drawn({ header, latency, foreign }) {
    this.#header = header;
    this.#foreign = foreign;
    this.#pictures.push({ time: performance.now(), latency });
    this.#forget();
  }

  /** Drop pictures of more than a few seconds ago; the newest stays, however old. */
  #forget() {
    const since = performance.now() - WINDOW_MS;
    while (this.#pictures.length > 1 && this.#pictures[0].time < since) this.#pictures.shift();
  }

  /** Latency and rate of the last seconds, for the corner of the page. */
  summary() {
    this.#forget();
    const sorted = this.#pictures.map((picture) => picture.latency).sort((a, b) => a - b);
    const share = (part) => sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))] ?? 0;
    const recent = this.#pictures.filter((picture) => picture.time >= performance.now() - WINDOW_MS);
    const rate = (1000 * recent.length) / WINDOW_MS;
    return { median: share(0.5), high: share(0.95), rate, header: this.#header };
  }

  #render() {
    if ($("system").hidden) return;
    const { median, high, rate, header } = this.summary();
    const lines = [];
    if (header) {
      const from = this.#foreign ? "console to screen" : "camera to screen";
      lines.push(["Picture", `${rate.toFixed(1)} frames a second`]);
      lines.push([`Delay, ${from}`, `${Math.round(median)} ms, 95 % within ${Math.round(high)} ms`]);
      lines.push(["Frame", `${header.size[0]} × ${header.size[1]} px`]);
      lines.push(["Sent as", `JPEG up to ${header.quality[0]} px wide, quality ${header.quality[1]}`]);
      lines.push(["Link", `${header.kbit} kbit/s`]);
    }
    $("system").replaceChildren(
      element("h2", {}, "Detector"),
      element("p", { className: "note" }, `${this.#status.node ?? ""}: ${this.#status.message ?? ""}`),
      list((this.#status.lines ?? []).map(({ label, text }) => [label, text])),
      element("h2", {}, "This browser"),
      list(lines),
    );
  }
}

function list(lines) {
  return element("dl", {}, ...lines.flatMap(([label, text]) => [element("dt", {}, label), element("dd", {}, text)]));
}
