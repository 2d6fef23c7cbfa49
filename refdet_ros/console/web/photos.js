// The dialog that makes a target of photos: drop or take up to five, mark the object in each.

import { $, element, toast } from "./dom.js";
import { drawSelection } from "./overlays.js";
import { listen } from "./gestures.js";
import { Naming } from "./naming.js";
import { View } from "./view.js";

const MOST = 5;
const LARGEST_SIDE = 4096;
const JPEG_QUALITY = 0.93;

export class Photos {
  #connection;
  #templates;
  #view = new View($("photo-canvas"));
  #naming = new Naming($("photo-what"), $("photo-naming"), $("photo-name"));
  #photos = []; // {bitmap, blob, box}
  #current = null;

  constructor(connection, templates) {
    this.#connection = connection;
    this.#templates = templates;
    listen(this.#view, {
      box: () => this.#current?.box ?? null,
      begin: () => {},
      change: (box) => this.#mark(box),
      end: (box) => {
        if (box) this.#mark(box);
        this.#strip();
      },
      moved: () => this.#draw(),
    });
    new ResizeObserver(() => this.#draw()).observe($("photo-canvas"));
    $("photo-files").onchange = (event) => this.#add(event.target);
    const frame = $("photo-canvas-frame");
    // Photos may be dropped anywhere on the page; that opens the dialog.
    document.addEventListener("dragover", (event) => {
      if (!event.dataTransfer?.types.includes("Files")) return;
      event.preventDefault();
      if (!$("photo-dialog").open) this.open();
      $("photo-drop").classList.add("over");
    });
    document.addEventListener("drop", (event) => {
      $("photo-drop").classList.remove("over");
      if (!event.dataTransfer?.files.length) return;
      event.preventDefault();
      this.#take([...event.dataTransfer.files]);
    });
    frame.addEventListener("dragleave", () => $("photo-drop").classList.remove("over"));
    $("photo-cancel").onclick = () => $("photo-dialog").close();
    $("photo-set").onclick = () => this.#set();
    $("photo-dialog").onclose = () => this.#reset();
  }

  /** name: of the template to add views to, null for a new one. */
  open(name = null) {
    this.#reset();
    this.#naming.offer(this.#templates(), name);
    $("photo-dialog").showModal();
    this.#draw();
  }

  #reset() {
    for (const photo of this.#photos) photo.bitmap.close();
    this.#photos = [];
    this.#current = null;
    $("photo-problem").textContent = "";
    this.#strip();
  }

  #add(input) {
    this.#take([...input.files]);
    input.value = "";
  }

  async #take(files) {
    $("photo-problem").textContent = "";
    for (const file of files) {
      if (this.#photos.length >= MOST) {
        this.#problem(`A target takes up to ${MOST} photos; the others were left out.`);
        break;
      }
      try {
        const photo = await prepared(file);
        this.#photos.push(photo);
        this.#choose(photo);
      } catch {
        // The name comes from the file; it is set as text.
        this.#problem(`${file.name} is not a picture this browser can read.`);
      }
    }
    this.#strip();
  }

  #problem(text) {
    $("photo-problem").textContent = text;
  }

  #choose(photo) {
    this.#current = photo;
    this.#view.reset();
    this.#strip();
    this.#draw();
  }

  #mark(box) {
    if (!this.#current) return;
    this.#current.box = box;
    this.#draw();
  }

  #strip() {
    const buttons = this.#photos.map((photo, index) => {
      const thumbnail = element("canvas", { width: 152, height: 152 });
      const side = Math.min(photo.bitmap.width, photo.bitmap.height);
      const [x, y] = [(photo.bitmap.width - side) / 2, (photo.bitmap.height - side) / 2];
      thumbnail.getContext("2d").drawImage(photo.bitmap, x, y, side, side, 0, 0, 152, 152);
      const button = element(
        "button",
        { type: "button", "aria-label": `Photo ${index + 1}`, "aria-current": String(photo === this.#current) },
        thumbnail,
        element("span", { className: "tick" }, photo.box ? "box" : "whole"),
      );
      button.onclick = () => this.#choose(photo);
      return button;
    });
    if (this.#photos.length && this.#photos.length < MOST) {
      const files = element("input", { type: "file", accept: "image/*", multiple: true, "aria-label": "More photos" });
      files.onchange = () => this.#add(files);
      buttons.push(element("label", { className: "more" }, "+", files));
    }
    $("photo-strip").replaceChildren(...buttons);
    $("photo-drop").hidden = this.#photos.length > 0;
    $("photo-set").disabled = !this.#photos.length;
  }

  #draw() {
    const [view, context] = [this.#view, $("photo-canvas").getContext("2d")];
    view.fitCanvas();
    context.clearRect(0, 0, context.canvas.width, context.canvas.height);
    if (!this.#current) return;
    const { bitmap, box } = this.#current;
    view.size = [bitmap.width, bitmap.height];
    context.drawImage(bitmap, ...view.toCanvas([0, 0, ...view.size]));
    if (box) drawSelection(context, view, box);
  }

  async #set() {
    $("photo-set").disabled = true;
    try {
      const references = [];
      for (const photo of this.#photos) references.push({ picture: await upload(photo.blob), box: photo.box });
      const answer = await this.#connection.ask("set_template", { ...this.#naming.choice, references });
      if (!answer.success) throw new Error(answer.message);
      toast(answer.message);
      $("photo-dialog").close();
    } catch (error) {
      this.#problem(error.message);
      $("photo-set").disabled = false;
    }
  }
}

/** Turned upright, not too large, and without the place it was taken at. */
async function prepared(file) {
  const whole = await createImageBitmap(file);
  const factor = Math.min(1, LARGEST_SIDE / Math.max(whole.width, whole.height));
  const canvas = new OffscreenCanvas(Math.round(whole.width * factor), Math.round(whole.height * factor));
  const context = canvas.getContext("2d");
  context.fillStyle = "#727272"; // where a cut-out is transparent
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(whole, 0, 0, canvas.width, canvas.height);
  whole.close();
  const blob = await canvas.convertToBlob({ type: "image/jpeg", quality: JPEG_QUALITY });
  return { bitmap: await createImageBitmap(blob), blob, box: null };
}

async function upload(blob) {
  const response = await fetch("api/pictures", { method: "POST", body: blob });
  const answer = await response.json().catch(() => ({ message: `The console answered ${response.status}.` }));
  if (!response.ok) throw new Error(answer.message);
  return answer.picture;
}
