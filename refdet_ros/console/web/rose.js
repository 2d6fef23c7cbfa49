// Where a target is: a compass rose with its bearing, distance, and coordinates to copy.

import { element, toast } from "./dom.js";

const SIDE = 76;
const STALE_S = 3;
const NAMES = ["N", "NE", "E", "SE", "S", "SW", "W", "NW"];

export class Rose {
  #canvas = element("canvas", { width: 2 * SIDE, height: 2 * SIDE });
  #text = element("p", {});
  #copy = element("button", { type: "button", title: "Copy the coordinates" }, "Copy");
  #coordinates = "";

  constructor() {
    this.root = element("div", { className: "where", hidden: true }, this.#canvas, this.#text, this.#copy);
    this.#copy.onclick = () => this.#toClipboard();
  }

  /** What the console knows of the target's place; undefined hides it. */
  show(place) {
    this.root.hidden = !place;
    if (!place) return;
    const stale = place.age > STALE_S;
    this.root.style.opacity = stale ? 0.55 : 1;
    this.#draw(place.azimuth);
    const lines = [];
    if (place.azimuth !== null) lines.push(element("b", {}, `${Math.round(place.azimuth)}° ${NAMES[Math.round(place.azimuth / 45) % 8]}`));
    if (place.distance !== null) {
      const give = place.uncertainty === null ? "" : ` ± ${metres(place.uncertainty)}`;
      lines.push(element("span", {}, `${metres(place.distance)} away${give}${place.speed > 0.5 ? `, ${place.speed.toFixed(1)} m/s` : ""}`));
    }
    this.#coordinates = place.latitude === null ? "" : `${place.latitude.toFixed(6)}, ${place.longitude.toFixed(6)}`;
    if (this.#coordinates) lines.push(element("span", {}, this.#coordinates));
    if (place.problem) lines.push(element("span", {}, place.problem));
    if (stale) lines.push(element("span", {}, `${Math.round(place.age)} s ago`));
    this.#text.replaceChildren(...lines);
    this.#copy.hidden = !this.#coordinates;
  }

  #draw(azimuth) {
    const context = this.#canvas.getContext("2d");
    const style = getComputedStyle(document.body);
    const colour = (name) => style.getPropertyValue(name);
    const radius = SIDE - 6;
    context.setTransform(1, 0, 0, 1, SIDE, SIDE);
    context.clearRect(-SIDE, -SIDE, 2 * SIDE, 2 * SIDE);
    context.strokeStyle = colour("--line");
    context.lineWidth = 3;
    context.beginPath();
    context.arc(0, 0, radius, 0, 2 * Math.PI);
    context.stroke();
    context.fillStyle = colour("--muted");
    context.font = "600 22px system-ui, sans-serif";
    context.textAlign = "center";
    context.textBaseline = "middle";
    ["N", "E", "S", "W"].forEach((name, quarter) => {
      const angle = (quarter * Math.PI) / 2;
      context.fillText(name, Math.sin(angle) * (radius - 17), -Math.cos(angle) * (radius - 17));
    });
    if (azimuth === null) return;
    context.rotate((azimuth * Math.PI) / 180);
    context.fillStyle = colour("--accent");
    context.beginPath();
    context.moveTo(0, -radius + 4);
    context.lineTo(15, 20);
    context.lineTo(0, 11);
    context.lineTo(-15, 20);
    context.fill();
  }

  async #toClipboard() {
    try {
      await navigator.clipboard.writeText(this.#coordinates);
      toast(`Copied ${this.#coordinates}.`);
    } catch {
      // Browsers give the clipboard to secure pages only; this way works on the others.
      const field = element("textarea", { value: this.#coordinates });
      document.body.append(field);
      field.select();
      const copied = document.execCommand("copy");
      field.remove();
      toast(copied ? `Copied ${this.#coordinates}.` : this.#coordinates, copied);
    }
  }
}

function metres(value) {
  return value >= 1000 ? `${(value / 1000).toFixed(2)} km` : `${value < 10 ? value.toFixed(1) : Math.round(value)} m`;
}
