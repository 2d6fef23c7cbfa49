// How a picture lies on a canvas: fitted, zoomed and shifted; and back from the screen to pixels.

const MAX_ZOOM = 24;

export class View {
  zoom = 1;
  #centre = [0.5, 0.5]; // of the canvas, as a share of the picture
  constructor(canvas) {
    this.canvas = canvas;
    this.size = [16, 9];
    this.ratio = 1;
  }

  /** Match the canvas to its place on the screen; true if that changed it. */
  fitCanvas() {
    this.ratio = Math.min(2, window.devicePixelRatio || 1);
    const width = Math.max(1, Math.round(this.canvas.clientWidth * this.ratio));
    const height = Math.max(1, Math.round(this.canvas.clientHeight * this.ratio));
    if (this.canvas.width === width && this.canvas.height === height) return false;
    this.canvas.width = width;
    this.canvas.height = height;
    return true;
  }

  /** Canvas pixels per picture pixel. */
  get scale() {
    const [width, height] = this.size;
    return Math.min(this.canvas.width / width, this.canvas.height / height) * this.zoom;
  }

  /** Where the picture's left upper corner is on the canvas. */
  get origin() {
    return [0, 1].map((axis) => {
      const room = axis ? this.canvas.height : this.canvas.width;
      return room / 2 - this.#centre[axis] * this.size[axis] * this.scale;
    });
  }

  toCanvas([x, y, width, height]) {
    const [left, top] = this.origin;
    const scale = this.scale;
    return [left + x * scale, top + y * scale, width * scale, height * scale];
  }

  /** A pointer event's place in picture pixels. */
  toPicture(event) {
    const frame = this.canvas.getBoundingClientRect();
    const [left, top] = this.origin;
    return [
      ((event.clientX - frame.left) * this.ratio - left) / this.scale,
      ((event.clientY - frame.top) * this.ratio - top) / this.scale,
    ];
  }

  /** Zoom, keeping the place under the pointer. */
  zoomAt(factor, event) {
    const before = this.toPicture(event);
    this.zoom = Math.min(MAX_ZOOM, Math.max(1, this.zoom * factor));
    const after = this.toPicture(event);
    this.#shift(before[0] - after[0], before[1] - after[1]);
  }

  /** Move the picture by screen pixels. */
  pan(dx, dy) {
    this.#shift((-dx * this.ratio) / this.scale, (-dy * this.ratio) / this.scale);
  }

  reset() {
    this.zoom = 1;
    this.#centre = [0.5, 0.5];
  }

  #shift(dx, dy) {
    [dx, dy].forEach((by, axis) => {
      const room = axis ? this.canvas.height : this.canvas.width;
      const shown = Math.min(1, room / (this.size[axis] * this.scale));
      const moved = this.#centre[axis] + by / this.size[axis];
      this.#centre[axis] = Math.min(1 - shown / 2, Math.max(shown / 2, moved));
    });
  }
}
