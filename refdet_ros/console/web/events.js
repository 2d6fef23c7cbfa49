// The list of events: found, lost, back; each with its picture.

import { $, clock, element, percent, symbol } from "./dom.js";

const WORDS = { found: "Found", back: "Back", lost: "Lost" };
const STATES = { found: "tracking", back: "tracking", lost: "lost" };
const SHOWN = 100;

export class Events {
  #events = [];
  #rows = new Map();
  node = "";

  constructor() {
    this.#render();
  }

  set(events) {
    this.#events = events;
    this.#render();
  }

  /** A new event, or one that got its picture. */
  add(event) {
    const at = this.#events.findIndex((known) => known.number === event.number);
    if (at >= 0) this.#events[at] = event;
    else this.#events.push(event);
    this.#events = this.#events.slice(-SHOWN);
    this.#render();
  }

  /** The newest event of a target. */
  latest(name) {
    return this.#events.findLast((event) => event.template_id === name);
  }

  pictureOf(event) {
    return `api/events/${event.number}.jpg?node=${encodeURIComponent(this.node)}`;
  }

  open(event) {
    if (!event.picture) return;
    const dialog = $("picture-dialog");
    dialog.querySelector("img").src = this.pictureOf(event);
    dialog.querySelector("p").textContent =
      `${WORDS[event.kind]}: ${event.template_id}${event.track_id ? ` #${event.track_id}` : ""}, ` +
      `${new Date(event.time * 1000).toLocaleString()}` +
      (event.score === null ? "" : `, ${percent(event.score)}`) +
      (event.position ? `, ${event.position.latitude.toFixed(6)}, ${event.position.longitude.toFixed(6)}` : "");
    dialog.showModal();
  }

  #render() {
    const panel = $("events");
    if (!this.#events.length) {
      panel.replaceChildren(
        element("div", { className: "empty" }, symbol("list"), element("p", {}, "Nothing has happened yet. When a target is found, lost or found again, it is noted here with a picture.")),
      );
      this.#rows.clear();
      return;
    }
    const save = element("a", { className: "button", href: `api/events.zip?node=${encodeURIComponent(this.node)}`, download: "" }, symbol("save"), "Save");
    save.title = "Save the list as CSV, with the pictures";
    const query = `?node=${encodeURIComponent(this.node)}`;
    const placed = this.#events.some((event) => event.position);
    const maps = placed ? ["geojson", "kml"].map((kind) => element("a", { className: "button", href: `api/events.${kind}${query}`, download: "" }, kind === "kml" ? "KML" : "GeoJSON")) : [];
    const rows = [...this.#events].reverse().map((event) => this.#row(event));
    panel.replaceChildren(element("div", { className: "bar" }, element("h2", {}, "Events"), ...maps, save), ...rows);
  }

  #row(event) {
    const key = `${event.number}/${event.picture}/${event.template_id}`;
    if (this.#rows.get(event.number)?.key === key) return this.#rows.get(event.number).row;
    const picture = event.picture
      ? element("img", { src: this.pictureOf(event), alt: "", loading: "lazy" })
      : element("div", { className: "none" });
    const track = event.track_id ? ` #${event.track_id}` : "";
    const row = element(
      "button",
      { className: "event", type: "button", data: { state: STATES[event.kind] } },
      picture,
      element(
        "div",
        {},
        element("div", { className: "name" }, element("span", { className: "badge" }, WORDS[event.kind]), ` ${event.template_id}${track}`),
        element("time", {}, clock(event.time), event.score === null ? "" : ` · ${percent(event.score)}`),
      ),
    );
    row.onclick = () => this.open(event);
    this.#rows.set(event.number, { key, row });
    return row;
  }
}
