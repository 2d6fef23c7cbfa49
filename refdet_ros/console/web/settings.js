// What an operator may change, with the node's own ranges and descriptions.

import { $, element, symbol, toast } from "./dom.js";

const TITLES = {
  search: "Search",
  score_threshold: "Score threshold",
  track_persistence: "Persistence",
  max_detections: "Detections in a frame, at most",
  auto_lost_s: "Lost after (s)",
  auto_forget_s: "New number after (s)",
  auto_confirm_frames: "Frames to confirm",
  auto_check_s: "Look at the whole frame every (s)",
  max_tiles_per_frame: "Tiles in a frame, at most",
};

export class Settings {
  #connection;
  #enabled = true;
  #settings = [];

  constructor(connection) {
    this.#connection = connection;
  }

  setStatus(status) {
    if (status.enabled === this.#enabled) return;
    this.#enabled = status.enabled;
    if (!$("settings").hidden) this.#render();
  }

  async load() {
    try {
      const answer = await this.#connection.ask("settings");
      if (!answer.success) throw new Error(answer.message);
      this.#settings = answer.settings;
      this.#render();
    } catch (error) {
      $("settings").replaceChildren(element("div", { className: "empty" }, symbol("tune"), element("p", {}, error.message)));
    }
  }

  async #set(name, value) {
    try {
      const answer = await this.#connection.ask("set_setting", { name, value });
      toast(answer.message, answer.success);
    } catch (error) {
      toast(error.message, false);
    }
    this.load();
  }

  #render() {
    const pause = element("button", { type: "button" }, symbol(this.#enabled ? "hold" : "play"), this.#enabled ? "Pause" : "Go on");
    pause.onclick = () => this.#set("enabled", !this.#enabled);
    const running = element(
      "div",
      { className: "setting" },
      element("label", {}, this.#enabled ? "The detector searches" : "The detector is paused"),
      pause,
      element("p", {}, "Paused, it keeps its targets and costs nothing."),
    );
    $("settings").replaceChildren(running, ...this.#settings.map((setting) => this.#row(setting)));
  }

  #row(setting) {
    const id = `setting-${setting.name}`;
    const row = element("div", { className: "setting" }, element("label", { htmlFor: id }, TITLES[setting.name] ?? setting.name));
    if (setting.choices.length) {
      const select = element("select", { id }, ...setting.choices.map((choice) => element("option", { value: choice }, choice)));
      select.value = setting.value;
      select.onchange = () => this.#set(setting.name, select.value);
      row.append(select);
    } else if (setting.type === "boolean") {
      const toggle = element("button", { id, type: "button", "aria-pressed": String(setting.value) }, setting.value ? "On" : "Off");
      toggle.onclick = () => this.#set(setting.name, !setting.value);
      row.append(toggle);
    } else if (setting.type === "string") {
      const input = element("input", { id, value: setting.value });
      input.onchange = () => this.#set(setting.name, input.value);
      row.append(input);
    } else {
      row.append(...this.#number(setting, id));
    }
    row.append(element("p", {}, setting.description));
    return row;
  }

  #number(setting, id) {
    const whole = setting.type === "integer";
    const narrow = setting.high - setting.low <= 20;
    const step = whole ? 1 : setting.high - setting.low <= 4 ? 0.01 : 0.1;
    const limits = { min: setting.low ?? "", max: setting.high ?? "", step };
    const input = element("input", { id, type: "number", inputMode: "decimal", ...limits, value: setting.value });
    const set = (text) => {
      const value = Number(text);
      // What the node refuses it says itself; what is no number never gets there.
      if (text === "" || !Number.isFinite(value)) toast("That is not a number.", false);
      else this.#set(setting.name, whole ? Math.round(value) : value);
    };
    input.onchange = () => set(input.value);
    if (setting.low === undefined || !narrow) return [input];
    const slider = element("input", { className: "slider", type: "range", ...limits, value: setting.value, "aria-label": setting.name });
    slider.oninput = () => (input.value = slider.value);
    slider.onchange = () => set(slider.value);
    return [input, slider];
  }
}
