// Recording what is seen, and looking at it again with a seek bar.

import { $, element, span, symbol, toast } from "./dom.js";

const megabytes = (bytes) => `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`;

export class Recordings {
  #connection;
  #command;
  #cleared;
  #recording = null;
  #state = null;
  #dragging = false;

  /** cleared: called when the picture changes from live to a recording, or back. */
  constructor(connection, command, cleared) {
    this.#connection = connection;
    this.#command = command;
    this.#cleared = cleared;
    connection.on("recording", ({ recording }) => this.#showRecording(recording));
    connection.on("recordings", (message) => this.#showList(message));
    connection.on("playback", (state) => this.#showState(state));
    connection.addEventListener("close", () => this.#leave());
    $("record").onclick = () => command("record", { on: !this.#recording });
    $("player-pause").onclick = () => this.#connection.send("pause", { on: !this.#state?.paused });
    $("player-close").onclick = () => {
      this.#connection.send("stop");
      this.#leave();
    };
    const seek = $("player-seek");
    seek.oninput = () => {
      this.#dragging = true;
      this.#connection.send("seek", { seconds: Number(seek.value) });
    };
    seek.onchange = () => (this.#dragging = false);
  }

  get playing() {
    return this.#state !== null;
  }

  #leave() {
    if (!this.#state) return;
    this.#state = null;
    $("player").hidden = true;
    $("stage").classList.remove("playing");
    this.#cleared();
  }

  async #play(name) {
    const success = await this.#command("play", { name });
    if (!success) return;
    this.#cleared();
    this.#state = { name, position: 0, duration: 0, paused: false };
    $("player").hidden = false;
    $("stage").classList.add("playing");
  }

  #showState(state) {
    if (!this.#state) return;
    if (state.problem) {
      toast(state.problem, false);
      return;
    }
    this.#state = state;
    const seek = $("player-seek");
    seek.max = state.duration;
    if (!this.#dragging) seek.value = state.position;
    $("player-time").textContent = `${span(state.position)} / ${span(state.duration)}`;
    $("player-pause").replaceChildren(symbol(state.paused ? "play" : "hold"));
    $("player-pause").setAttribute("aria-label", state.paused ? "Play" : "Pause");
  }

  #showRecording(recording) {
    this.#recording = recording;
    $("record").setAttribute("aria-pressed", String(Boolean(recording)));
    const lost = recording?.dropped ? `, ${recording.dropped} left out` : "";
    $("record").title = recording ? `${recording.frames} frames, ${megabytes(recording.bytes)}${lost}` : "Record picture and results";
    $("record").querySelector(".text").textContent = recording ? span(recording.seconds) : "Record";
  }

  #showList({ folder, recordings }) {
    const panel = $("recordings");
    if (!recordings.length) {
      panel.replaceChildren(
        element("div", { className: "empty" }, symbol("film"), element("p", {}, "No recordings yet. Record keeps the picture with all results; bags that are put into the folder show up here, too."), element("p", { className: "note" }, folder)),
      );
      return;
    }
    const rows = recordings.map(({ name, bytes, time }) => {
      const play = element("button", { type: "button" }, symbol("play"), "Play");
      play.onclick = () => this.#play(name);
      const remove = element("button", { type: "button", className: "icon", title: "Delete", "aria-label": `Delete ${name}` }, symbol("trash"));
      remove.onclick = () => this.#remove(remove, name);
      return element(
        "article",
        { className: "card" },
        element("div", { className: "title" }, element("b", {}, name)),
        element("div", { className: "foot" }, element("p", {}, `${new Date(time * 1000).toLocaleString()}, ${megabytes(bytes)}`), play, remove),
      );
    });
    panel.replaceChildren(...rows, element("p", { className: "note" }, folder));
  }

  /** Asks once more in the button itself: a thumb in a car touches a lot. */
  #remove(button, name) {
    if (button.classList.contains("sure")) {
      this.#command("delete_recording", { name });
      return;
    }
    button.classList.add("sure");
    button.replaceChildren("Sure?");
    setTimeout(() => {
      button.classList.remove("sure");
      button.replaceChildren(symbol("trash"));
    }, 3000);
  }
}
