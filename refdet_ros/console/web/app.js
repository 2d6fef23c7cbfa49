// Puts the page together.

import { $, element, toast } from "./dom.js";
import { Connection } from "./connection.js";
import { Events } from "./events.js";
import { Naming } from "./naming.js";
import { Photos } from "./photos.js";
import { Recordings } from "./recordings.js";
import { Settings } from "./settings.js";
import { Stage, showPlates } from "./stage.js";
import { System } from "./system.js";
import { Targets } from "./targets.js";

const PICTURE_TIMEOUT_MS = 3000;

const connection = new Connection();
const stage = new Stage(connection);
const events = new Events();
const settings = new Settings(connection);
const system = new System();
const recordings = new Recordings(connection, command, () => stage.clear());
const photos = new Photos(connection, () => targets.templates);
const naming = new Naming($("confirm-what"), $("confirm-naming"), $("confirm-name"));
const targets = new Targets(connection, events, {
  addView: (name) => photos.open(name),
  clear: (name) => command("clear_template", { template_id: name }),
  openEvent: (event) => events.open(event),
});
let wanted = sessionStorage.getItem("detector");
let lastDrawn = 0;
let status = {};

async function command(type, content = {}) {
  try {
    const answer = await connection.ask(type, content);
    toast(answer.message, answer.success);
    return answer.success;
  } catch (error) {
    toast(error.message, false);
    return false;
  }
}

// The connection.

connection.addEventListener("open", () => {
  $("lost").hidden = true;
  connection.send("choose", { node: wanted });
  connection.send("heatmap", { on: $("heatmap").getAttribute("aria-pressed") === "true" });
});
connection.addEventListener("close", () => {
  $("lost").hidden = false;
  stage.release();
});
connection
  .on("detectors", ({ detectors }) => {
    const select = $("detector");
    const names = detectors.map(({ node }) => node);
    // A drone that was chosen and is not there is never silently replaced by another.
    const missing = wanted && names.length && !names.includes(wanted);
    if (missing) names.unshift(wanted);
    select.hidden = names.length < 2;
    if (names.join() !== [...select.options].map(({ value }) => value).join()) {
      select.replaceChildren(...names.map((name) => element("option", { value: name }, name)));
      if (wanted) select.value = wanted;
    }
    if (missing) verdict("stale", `${wanted} is not there; choose a detector`);
    if (!detectors.length) verdict("stale", "No detector is running");
  })
  .on("chosen", ({ node }) => {
    wanted = node;
    sessionStorage.setItem("detector", node);
    events.node = node;
    stage.clear();
    targets.reset();
    events.set([]);
    $("detector").value = node;
    if (!$("settings").hidden) settings.load();
  })
  .on("status", (message) => {
    status = message;
    verdict(message.level, message.message);
    for (const part of [targets, settings, system]) part.setStatus(message);
  })
  .on("templates", ({ templates, undo }) => {
    targets.setTemplates(templates);
    $("undo").disabled = !undo;
    $("undo").title = undo ? `Undo ${undo}` : "";
    $("clear").disabled = !templates.length;
  })
  .on("presence", (message) => targets.addPresence(message))
  .on("positions", ({ positions }) => targets.setPositions(positions))
  .on("events", (message) => events.set(message.events))
  .on("event", (event) => {
    events.add(event);
    if ($("events").hidden) tab("events").classList.add("news");
  })
  .on("problem", ({ message }) => toast(message, false));

function verdict(level, text) {
  $("verdict").dataset.level = level;
  $("verdict-text").textContent = $("verdict").title = text;
}
$("detector").onchange = () => {
  wanted = $("detector").value;
  connection.send("choose", { node: wanted });
};

// The picture.

stage.addEventListener("drawn", ({ detail }) => {
  lastDrawn = performance.now();
  system.drawn(detail);
  targets.showResult(detail.header.result);
  showPlates(detail.header);
  $("hint").textContent = targets.templates.length ? "" : "Drag a tight box around the target";
  // For measurements from outside.
  document.dispatchEvent(new CustomEvent("refdet-drawn", { detail: { stamp: detail.header.stamp, latency: detail.latency } }));
});
for (const kind of ["held", "released"]) {
  stage.addEventListener(kind, () => {
    $("stage").classList.toggle("held", stage.held);
    $("hold").setAttribute("aria-pressed", String(stage.held));
    $("hold").lastElementChild.textContent = stage.held ? "Release" : "Hold";
    $("hint").textContent = "";
    showPlates(stage.header, stage.held ? "drag a box, or release" : "");
    if (!stage.held) confirming(false);
  });
}
stage.addEventListener("box", () => {
  if ($("confirm").hidden) naming.offer(targets.templates);
  showPlates(stage.header, "pull its corners");
  confirming(true);
});
function confirming(on) {
  $("confirm").hidden = !on;
  $("toolbar").hidden = on;
  $("stage").classList.toggle("busy", on);
}
$("confirm").onsubmit = async (event) => {
  event.preventDefault();
  const references = [{ held: true, box: stage.box }];
  if (await command("set_template", { ...naming.choice, references })) stage.release();
};
$("confirm-cancel").onclick = () => stage.release();
$("hold").onclick = () => (stage.held ? stage.release() : stage.hold());
$("fit").onclick = () => stage.fit();
$("heatmap").onclick = () => {
  const on = $("heatmap").getAttribute("aria-pressed") !== "true";
  $("heatmap").setAttribute("aria-pressed", String(on));
  connection.send("heatmap", { on });
};
$("photos").onclick = () => photos.open();
$("undo").onclick = () => command("undo");
$("clear").onclick = () => command("clear_template", { template_id: "" });
document.addEventListener("keydown", (event) => {
  if (event.target.closest("input, select, dialog")) {
    if (event.key === "Escape" && !event.target.closest("dialog")) stage.release();
    return;
  }
  if (event.key === "Escape") stage.release();
  else if (event.key === "Enter" && stage.box) $("confirm").requestSubmit();
  else if (event.key === " " && !event.target.closest("button")) {
    event.preventDefault();
    $("hold").click();
  }
});

// The panels.

const tab = (panel) => document.querySelector(`nav [data-panel=${panel}]`);
for (const button of document.querySelectorAll("nav button")) {
  button.onclick = () => {
    for (const other of document.querySelectorAll("nav button")) {
      other.setAttribute("aria-selected", String(other === button));
      $(other.dataset.panel).hidden = other !== button;
    }
    button.classList.remove("news");
    if (button.dataset.panel === "settings") settings.load();
    if (button.dataset.panel === "recordings") connection.send("recordings");
    if (button.dataset.panel === "system") system.setStatus(status);
  };
}
$("theme").onclick = () => theme(document.body.dataset.theme === "bright" ? "" : "bright");
function theme(name) {
  document.body.dataset.theme = name;
  localStorage.setItem("theme", name);
  targets.redraw();
}
if (localStorage.getItem("theme") === "bright") theme("bright");

setInterval(() => {
  const { median, rate } = system.summary();
  const silent = performance.now() - lastDrawn > PICTURE_TIMEOUT_MS;
  $("link").replaceChildren();
  if (!silent && !stage.held) {
    $("link").append(element("b", {}, `${Math.round(median)} ms`), ` · ${Math.round(rate)} Hz`);
  }
  if (silent && !stage.held && $("lost").hidden && !recordings.playing) {
    $("hint").textContent = status.node ? "No picture is coming from the camera" : "Waiting for a detector";
    showPlates(null);
  }
}, 1000);

connection.open();
