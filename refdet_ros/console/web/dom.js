// Building the page. Names and sentences come from elsewhere, so text is only ever set as text:
// nothing here, or in any other module, parses markup.

export const $ = (id) => document.getElementById(id);

/** An element with properties, data attributes and children (elements or texts). */
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "data") Object.assign(made.dataset, value);
    else if (name.startsWith("aria-") || name === "role") made.setAttribute(name, value);
    else made[name] = value;
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

/** One of the symbols of index.html. */
export function symbol(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

/** A sentence that goes away by itself. */
export function toast(message, good = true) {
  if (!message) return;
  const made = element("div", { className: good ? "toast" : "toast bad" }, message);
  $("toasts").append(made);
  while ($("toasts").childElementCount > 3) $("toasts").firstChild.remove();
  setTimeout(() => made.remove(), good ? 4000 : 9000);
}

export const clock = (seconds) => new Date(seconds * 1000).toLocaleTimeString([], { hour12: false });

/** A time span as people say it: 0:42, 3:07, 1:02:11. */
export function span(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  const parts = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const shown = parts[0] ? parts : parts.slice(1);
  return shown.map((part, index) => (index ? String(part).padStart(2, "0") : part)).join(":");
}

export const percent = (value) => `${Math.round(value * 100)} %`;
