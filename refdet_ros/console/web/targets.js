// The panel of targets: thumbnails, state, presence, when and where it was last seen.

import { $, clock, element, span, symbol } from "./dom.js";
import { Curve } from "./curve.js";
import { Rose } from "./rose.js";

const SPAN_S = 120;
const WORDS = { tracking: "Tracking", searching: "Searching", lost: "Lost", seen: "Seen", unseen: "Not seen", unknown: "No answer from the detector" };

export class Targets {
  #connection;
  #actions;
  #cards = new Map();
  #points = [];
  #seen = {};
  #positions = {};
  #status = {};
  #lastResult = null;
  #events;

  /** actions: addView(name), clear(name), openEvent(event) */
  constructor(connection, events, actions) {
    this.#connection = connection;
    this.#events = events;
    this.#actions = actions;
    this.templates = [];
    this.#empty();
  }

  setTemplates(templates) {
    this.templates = templates;
    const panel = $("targets");
    const names = new Set(templates.map((template) => template.template_id));
    for (const [name, card] of this.#cards) {
      if (!names.has(name)) {
        card.root.remove();
        this.#cards.delete(name);
      }
    }
    panel.querySelector(".empty")?.remove();
    if (!templates.length) this.#empty();
    for (const template of templates) {
      const card = this.#cards.get(template.template_id) ?? this.#card(template.template_id);
      const pictures = template.thumbnails.map((jpeg, index) =>
        element("img", { src: `data:image/jpeg;base64,${jpeg}`, alt: `View ${index + 1}` }),
      );
      card.thumbs.replaceChildren(...pictures);
      panel.append(card.root);
    }
    this.#refresh();
  }

  setStatus(status) {
    this.#status = status;
  }

  addPresence({ points, seen }) {
    this.#points.push(...points);
    const oldest = (this.#points.at(-1)?.[0] ?? 0) - SPAN_S;
    this.#points = this.#points.filter(([at]) => at >= oldest);
    this.#seen = seen;
    this.#refresh();
  }

  setPositions(positions) {
    this.#positions = positions;
  }

  showResult(result) {
    this.#lastResult = result;
  }

  reset() {
    this.#points = [];
    this.#seen = this.#positions = {};
    this.#lastResult = null;
    this.setTemplates([]);
  }

  redraw() {
    for (const card of this.#cards.values()) {
      card.place.replaceChildren();
      card.curve = new Curve(card.place);
    }
    this.#refresh();
  }

  #empty() {
    $("targets").replaceChildren(
      element(
        "div",
        { className: "empty" },
        symbol("target"),
        element("p", {}, "Nothing is looked for yet. Drag a tight box around the object in the picture, or add photos of it."),
      ),
    );
  }

  #card(name) {
    const card = {
      thumbs: element("div", { className: "thumbs" }),
      badge: element("span", { className: "badge" }),
      presence: element("div", { className: "presence" }),
      place: element("div", { className: "curve" }),
      rose: new Rose(),
      since: element("p", {}),
      last: element("button", { className: "lastseen", type: "button", hidden: true }),
    };
    const add = element("button", { type: "button", title: "Add a photo of it" }, symbol("add"), "View");
    const clear = element("button", { type: "button", className: "icon", title: "Stop looking for it", "aria-label": `Clear ${name}` }, symbol("trash"));
    add.onclick = () => this.#actions.addView(name);
    clear.onclick = () => this.#actions.clear(name);
    card.root = element(
      "article",
      { className: "card" },
      element("div", { className: "head" }, element("div", { className: "title" }, element("b", {}, name), card.badge), card.presence),
      card.place,
      card.rose.root,
      card.last,
      element("div", { className: "foot" }, card.thumbs, card.since, add, clear),
    );
    $("targets").append(card.root);
    card.curve = new Curve(card.place);
    this.#cards.set(name, card);
    return card;
  }

  #refresh() {
    const now = this.#connection.now() / 1000;
    const threshold = this.#status.threshold ?? null;
    for (const [name, card] of this.#cards) {
      const target = this.#lastResult?.targets.find((item) => item.template_id === name);
      const box = this.#lastResult?.boxes.find((item) => item.template_id === name);
      const state = target?.state ?? (box ? "seen" : this.#lastResult ? "unseen" : "unknown");
      const track = target?.track_id || box?.track_id;
      card.badge.textContent = WORDS[state] + (track ? ` · #${track}` : "");
      card.badge.dataset.state = state === "seen" ? "tracking" : state === "unseen" ? "searching" : state;
      const value = target?.presence ?? box?.score;
      card.presence.replaceChildren(
        value === undefined ? "–" : String(Math.round(value * 100)),
        element("small", {}, value === undefined ? "" : " %"),
      );
      card.curve.show(this.#points.map(([at, values]) => [at, values[name] ?? null]), now, threshold);
      card.rose.show(this.#positions[name]);
      this.#showLast(card, name, state, now);
    }
  }

  #showLast(card, name, state, now) {
    const event = this.#events.latest(name);
    const seen = this.#seen[name];
    const followed = state === "tracking" || state === "seen";
    card.since.textContent = event && followed ? `${event.kind === "back" ? "back" : "found"} ${span(now - event.time)} ago` : "";
    card.last.hidden = followed || state === "unknown" || !seen;
    if (card.last.hidden) return;
    const [x, y, width, height] = seen.box;
    const where = `at ${Math.round(x + width / 2)}, ${Math.round(y + height / 2)} px`;
    const text = `Last seen ${span(now - seen.time)} ago (${clock(seen.time)}) ${where}`;
    const key = `${event?.number}/${event?.picture}`;
    if (card.last.dataset.key !== key) {
      card.last.dataset.key = key;
      const picture = event?.picture ? element("img", { src: this.#events.pictureOf(event), alt: "" }) : null;
      card.last.replaceChildren(...[picture, element("span", {})].filter(Boolean));
      card.last.onclick = () => event && this.#actions.openEvent(event);
    }
    card.last.lastChild.textContent = text;
  }
}
