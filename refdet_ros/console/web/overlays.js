// Boxes, windows and labels on the picture, in the colours of the states.

import { percent } from "./dom.js";

export const COLOURS = { tracking: "#3ee68a", searching: "#ffb52e", lost: "#ff6363", drawing: "#ffffff" };

/** Draw a frame's result. */
export function drawResult(context, view, result) {
  if (!result) return;
  const seen = new Set(result.boxes.map((box) => box.template_id));
  for (const target of result.targets) {
    if (!target.window) continue;
    const place = view.toCanvas(target.window);
    context.setLineDash([7 * view.ratio, 5 * view.ratio]);
    outline(context, view, place, COLOURS[target.state], 1.4);
    context.setLineDash([]);
    if (!seen.has(target.template_id)) {
      label(context, view, place, `${name(target)} ${target.state}`, COLOURS[target.state]);
    }
  }
  const states = new Map(result.targets.map((target) => [target.template_id, target.state]));
  for (const box of [...result.boxes].reverse()) {
    const colour = COLOURS[states.get(box.template_id)] || COLOURS.tracking;
    const place = view.toCanvas(box.xywh);
    outline(context, view, place, colour, weight(view, place[2], place[3], 2.6));
    label(context, view, place, `${name(box)}  ${percent(box.score)}`, colour);
  }
}

/** The box that is being drawn, with the corners to pull and all else dimmed. */
export function drawSelection(context, view, box) {
  const [x, y, width, height] = view.toCanvas(box);
  const { canvas } = context;
  context.fillStyle = "#00000059";
  context.beginPath();
  context.rect(0, 0, canvas.width, canvas.height);
  context.rect(x, y, width, height);
  context.fill("evenodd");
  outline(context, view, [x, y, width, height], COLOURS.drawing, weight(view, width, height, 2));
  context.fillStyle = COLOURS.drawing;
  const side = 9 * view.ratio;
  // Outside the box, or they would hide a small object.
  for (const left of [x - side, x + width]) {
    for (const top of [y - side, y + height]) context.fillRect(left, top, side, side);
  }
  const text = `${Math.round(box[2])} × ${Math.round(box[3])} px`;
  label(context, view, [x - side, y - side, width + 2 * side, height + 2 * side], text, COLOURS.drawing);
}

function name(item) {
  const short = item.template_id.length > 24 ? `${item.template_id.slice(0, 23)}…` : item.template_id;
  return item.track_id ? `${short} #${item.track_id}` : short;
}

/** Thin around what is tiny on the screen, or there would be nothing left to see. */
function weight(view, width, height, most) {
  return Math.min(most, Math.max(1.3, Math.min(width, height) / view.ratio / 12));
}

function outline(context, view, [x, y, width, height], colour, weight) {
  // A dark edge around it: readable on grass, on snow and in the sun.
  for (const [stroke, extra] of [["#000000b0", 2.4], [colour, 0]]) {
    context.strokeStyle = stroke;
    context.lineWidth = (weight + extra) * view.ratio;
    context.strokeRect(x, y, width, height);
  }
}

function label(context, view, [x, y, width, height], text, colour) {
  // Smaller on a phone, where it would hide much of the picture.
  const size = (context.canvas.width < 600 * view.ratio ? 11 : 14) * view.ratio;
  context.font = `600 ${size}px system-ui, sans-serif`;
  const room = context.measureText(text).width + 0.9 * size;
  const tall = 1.5 * size;
  const above = y - tall - 4 * view.ratio;
  const top = above > 0 ? above : Math.min(y + height + 4 * view.ratio, context.canvas.height - tall);
  const left = Math.min(Math.max(x - view.ratio, 2), Math.max(2, context.canvas.width - room - 2));
  context.fillStyle = "#0a0e13e0";
  context.fillRect(left, top, room, tall);
  context.fillStyle = colour;
  context.fillRect(left, top, 3 * view.ratio, tall);
  context.textBaseline = "middle";
  context.fillText(text, left + 0.55 * size, top + tall / 2 + 0.04 * size);
}

/** A heatmap's grey picture as a transparent layer from blue over yellow to red. */
export async function heatLayer(jpeg) {
  const grey = await createImageBitmap(new Blob([jpeg], { type: "image/jpeg" }));
  const layer = new OffscreenCanvas(grey.width, grey.height);
  const context = layer.getContext("2d");
  context.drawImage(grey, 0, 0);
  grey.close();
  const picture = context.getImageData(0, 0, layer.width, layer.height);
  const { data } = picture;
  for (let index = 0; index < data.length; index += 4) {
    const heat = data[index] / 255;
    data[index] = 255 * Math.min(1, 2 * heat);
    data[index + 1] = 255 * Math.min(1, 2 - 2 * heat) * (heat > 0.25 ? 1 : 4 * heat);
    data[index + 2] = 255 * Math.max(0, 1 - 2.5 * heat);
    data[index + 3] = 225 * Math.min(1, 2.2 * heat);
  }
  context.putImageData(picture, 0, 0);
  return layer;
}
