// Diagnostics in plain words, and what the link to this browser carries.

import { $, element } from "./dom.js";

const KEPT = 150;

export class System {
  #status = { lines: [] };
  #latencies = [];
  #times = [];
  #header = null;
  #foreign = false;

  setStatus(status) {
    this.#status = status;
    this.#render();
  }

  drawn({ header, latency, foreign }) {
    this.#header = header;
    this.#foreign = foreign;
    this.#latencies.push(latency);
    this.#times.push(performance.now());
    if (this.#latencies.length > KEPT) this.#latencies.shift();
    while (this.#times.length && this.#times[0] < performance.now() - 3000) this.#times.shift();
  }

  /** Latency and rate of the last seconds, for the corner of the page. */
  summary() {
    const sorted = [...this.#latencies].sort((a, b) => a - b);
    const share = (part) => sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))] ?? 0;
    while (this.#times.length && this.#times[0] < performance.now() - 3000) this.#times.shift();
    return { median: share(0.5), high: share(0.95), rate: this.#times.length / 3, header: this.#header };
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
