// The live picture: shows each frame with its own boxes, holds one, and lets a box be drawn on it.

import { $, element, toast } from "./dom.js";
import { drawResult, drawSelection, heatLayer } from "./overlays.js";
import { listen } from "./gestures.js";
import { View } from "./view.js";

const FOREIGN_CLOCK_MS = 20000;

/**
 * Events: "drawn" {header, latency}, "box" (a box has been drawn), "held", "released".
 */
export class Stage extends EventTarget {
  #connection;
  #view = new View($("picture"));
  #context = $("picture").getContext("2d", { alpha: false });
  #shown = null; // {header, bitmap, heat}
  #next = null;
  #decoding = null;
  #waiting = null;
  #ahead = null; // a decoded picture {header, bitmap, heat} whose result has not come yet
  #answer = null; // the newest result of a picture that came ahead of it
  #frozen = false; // a box is being drawn, or the frame is held
  #kept = false; // held by the button: stays held without a box
  box = null;

  constructor(connection) {
    super();
    this.#connection = connection;
    connection.on("picture", (...parts) => this.#received(parts));
    connection.on("result", (answer) => {
      this.#answer = answer;
      this.#join();
    });
    connection.on("not_held", () => {
      this.release();
      toast("That frame is gone already; draw once more.", false);
    });
    listen(this.#view, {
      box: () => this.box,
      begin: () => this.#hold(),
      change: (box) => this.#select(box),
      end: (box) => this.#ended(box),
      moved: () => this.#draw(),
    });
    new ResizeObserver(() => this.#draw()).observe($("picture"));
  }

  get held() {
    return this.#frozen;
  }

  get header() {
    return this.#shown?.header ?? null;
  }

  /** Let the frame on the screen stand still until release(). */
  hold() {
    this.#kept = true;
    this.#hold();
  }

  release() {
    if (!this.#frozen) return;
    this.#frozen = this.#kept = false;
    this.box = null;
    this.#connection.send("release");
    this.dispatchEvent(new Event("released"));
    this.#draw();
  }

  fit() {
    this.#view.reset();
    this.#draw();
  }

  /** Nothing to show any more: another detector was chosen. */
  clear() {
    this.release();
    this.#ahead?.bitmap.close();
    this.#shown = this.#ahead = this.#answer = null;
    this.#draw();
  }

  #hold() {
    this.box = null;
    if (!this.#shown || this.#frozen) return;
    this.#frozen = true;
    // Told at once: the console keeps only the newest few frames.
    this.#connection.send("hold", { number: this.#shown.header.number });
    this.dispatchEvent(new Event("held"));
  }

  #select(box) {
    if (!this.#frozen) return;
    this.box = box;
    this.#draw();
  }

  #ended(box) {
    if (!this.#frozen) return;
    this.box = box;
    if (box) this.dispatchEvent(new Event("box"));
    else if (!this.#kept) this.release();
    this.#draw();
  }

  #received(parts) {
    // While one is being decoded only the newest waits.
    this.#waiting = parts;
    if (!this.#decoding) this.#decoding = this.#decode().finally(() => (this.#decoding = null));
  }

  async #decode() {
    while (this.#waiting) {
      const [header, jpeg, heatmap] = this.#waiting;
      this.#waiting = null;
      try {
        const [bitmap, heat] = await Promise.all([
          createImageBitmap(new Blob([jpeg], { type: "image/jpeg" })),
          heatmap ? heatLayer(heatmap) : null,
        ]);
        const picture = { header, bitmap, heat };
        if (header.pending) {
          this.#acknowledge(header);
          this.#ahead?.bitmap.close();
          this.#ahead = picture;
          this.#join();
        } else {
          this.#queue(picture);
        }
      } catch {
        this.#acknowledge(header);
      }
    }
  }

  /** Show the picture that came ahead together with its result; never without. */
  #join() {
    const [picture, answer] = [this.#ahead, this.#answer];
    if (!picture || !answer || answer.number < picture.header.number) return;
    this.#ahead = null;
    if (answer.result && answer.number === picture.header.number) {
      picture.header.result = answer.result;
      this.#queue(picture);
    } else {
      picture.bitmap.close();
    }
  }

  #queue(picture) {
    this.#next?.bitmap.close();
    const asked = Boolean(this.#next);
    this.#next = picture;
    if (!asked) requestAnimationFrame(() => this.#show());
  }

  /** Ask for more; a page that nobody sees does not. */
  #acknowledge({ number, still }) {
    if (still || document.hidden) return;
    this.#connection.send("ack", { number, round_trip: Math.round(this.#connection.roundTrip) });
  }

  #show() {
    const next = this.#next;
    this.#next = null;
    if (!next) return;
    const { header } = next;
    // A held frame only changes into its own sharper picture.
    if (this.#frozen && header.stamp !== this.#shown?.header.stamp) {
      next.bitmap.close();
      if (!header.pending) this.#acknowledge(header);
      return;
    }
    this.#shown?.bitmap.close();
    this.#shown = next;
    this.#draw();
    if (header.still) return;
    if (!header.pending) this.#acknowledge(header);
    const now = this.#connection.now();
    const byStamp = now - header.stamp_ms;
    // A bag keeps old stamps, a camera may have a clock of its own: then from its arrival here.
    const foreign = Math.abs(byStamp) > FOREIGN_CLOCK_MS;
    const latency = foreign ? now - header.received_ms : byStamp;
    this.dispatchEvent(new CustomEvent("drawn", { detail: { header, latency, foreign } }));
  }

  #draw() {
    const [view, context] = [this.#view, this.#context];
    view.fitCanvas();
    context.fillStyle = "#000";
    context.fillRect(0, 0, context.canvas.width, context.canvas.height);
    if (!this.#shown) return;
    const { header, bitmap, heat } = this.#shown;
    view.size = header.size;
    const place = view.toCanvas([0, 0, ...header.size]);
    context.imageSmoothingEnabled = view.zoom < 6;
    context.drawImage(bitmap, ...place);
    if (heat) {
      context.imageSmoothingEnabled = true;
      context.drawImage(heat, ...place);
    }
    // One or the other: labels of what is found may lie on what is being marked.
    if (this.box) drawSelection(context, view, this.box);
    else drawResult(context, view, header.result);
  }
}

/** The plates in the corner: what is followed, in words; while the frame is held, what to do. */
export function showPlates(header, heldHint = "") {
  const plates = [];
  if (heldHint) plates.push(plate("held", "HELD", heldHint));
  const result = header?.result;
  for (const target of result?.targets ?? []) {
    const track = target.track_id ? ` #${target.track_id}` : "";
    plates.push(plate(target.state, target.state.toUpperCase(), `${target.template_id}${track}`, target.presence));
  }
  if (result && !result.targets.length) {
    for (const box of result.boxes) plates.push(plate("tracking", "SEEN", box.template_id, box.score));
  }
  $("plates").replaceChildren(...plates.slice(0, 6));
}

function plate(state, word, name, value) {
  return element(
    "span",
    { className: "plate", data: { state } },
    element("span", { className: "state" }, word),
    element("span", { className: "name" }, name),
    value === undefined ? null : element("span", { className: "value" }, `${Math.round(value * 100)} %`),
  );
}
