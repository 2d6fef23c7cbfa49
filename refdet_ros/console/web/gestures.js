// Mouse and fingers on a picture: one draws a box, two zoom and shift, the wheel zooms.

const SMALLEST = 4; // screen pixels of a drag that is meant
const HANDLE = 22;

/**
 * @param view the View of the canvas
 * @param actions begin() before a drag, change(box) while it goes on, end(box or null), moved();
 *   box() is the box that is there already, in picture pixels, or null
 */
export function listen(view, actions) {
  const canvas = view.canvas;
  const pointers = new Map();
  let drag = null;
  let lastTap = 0;

  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  canvas.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      view.zoomAt(Math.exp(-event.deltaY * (event.ctrlKey ? 0.01 : 0.0018)), event);
      actions.moved();
    },
    { passive: false },
  );

  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, event);
    if (pointers.size === 1 && event.button === 0 && !event.shiftKey) {
      const [at, box] = [view.toPicture(event), actions.box()];
      const corner = box && cornerNear(view, box, event);
      // A corner of the box that is there: pull it; the opposite one stays.
      drag = { start: corner || at, first: event, box: null, pulled: Boolean(corner) };
      if (!drag.pulled) actions.begin();
    } else if (drag) {
      // A second finger: this was never a box.
      drag = null;
      actions.end(null);
    }
  });

  canvas.addEventListener("pointermove", (event) => {
    const before = pointers.get(event.pointerId);
    if (!before) return;
    if (drag) {
      const far = Math.hypot(event.clientX - drag.first.clientX, event.clientY - drag.first.clientY);
      if (far >= SMALLEST) {
        drag.box = between(drag.start, view.toPicture(event), view.size);
        actions.change(drag.box);
      }
    } else if (pointers.size === 1) {
      view.pan(event.clientX - before.clientX, event.clientY - before.clientY);
      actions.moved();
    } else {
      const [first, second] = [...pointers.values()];
      const other = event.pointerId === first.pointerId ? second : first;
      const middle = (one) => ({ clientX: (one.clientX + other.clientX) / 2, clientY: (one.clientY + other.clientY) / 2 });
      const apart = (one) => Math.max(10, Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY));
      const [from, to] = [middle(before), middle(event)];
      view.pan(to.clientX - from.clientX, to.clientY - from.clientY);
      view.zoomAt(apart(event) / apart(before), to);
      actions.moved();
    }
    pointers.set(event.pointerId, event);
  });

  const up = (event) => {
    if (!pointers.delete(event.pointerId)) return;
    if (drag && pointers.size === 0) {
      const { box } = drag;
      const pulled = drag.pulled;
      drag = null;
      if (box || !pulled) actions.end(box && event.type === "pointerup" ? box : null);
      if (!box && event.timeStamp - lastTap < 350) {
        view.reset();
        actions.moved();
      }
      lastTap = box ? 0 : event.timeStamp;
    }
  };
  canvas.addEventListener("pointerup", up);
  canvas.addEventListener("pointercancel", up);
}

/** The corner opposite to the one the pointer grabs, null if it grabs none. */
function cornerNear(view, [x, y, width, height], event) {
  const frame = view.canvas.getBoundingClientRect();
  const [px, py] = [(event.clientX - frame.left) * view.ratio, (event.clientY - frame.top) * view.ratio];
  for (const [across, down] of [[0, 0], [1, 0], [0, 1], [1, 1]]) {
    const [cx, cy] = view.toCanvas([x + across * width, y + down * height, 0, 0]);
    if (Math.hypot(cx - px, cy - py) < HANDLE * view.ratio) {
      return [x + (1 - across) * width, y + (1 - down) * height];
    }
  }
  return null;
}

function between([ax, ay], [bx, by], [width, height]) {
  const inside = (value, most) => Math.min(most, Math.max(0, value));
  const [x1, x2] = [inside(Math.min(ax, bx), width), inside(Math.max(ax, bx), width)];
  const [y1, y2] = [inside(Math.min(ay, by), height), inside(Math.max(ay, by), height)];
  return [x1, y1, x2 - x1, y2 - y1];
}
