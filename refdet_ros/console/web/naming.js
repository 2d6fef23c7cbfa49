// Which target a box or photo is for: a new one with a name, another view of one, or its successor.

import { element } from "./dom.js";

/** Offers the choices in a select and shows the name's field only for a new target. */
export class Naming {
  constructor(select, field, input) {
    Object.assign(this, { select, field, input });
    select.onchange = () => this.#show();
  }

  /** Offer the templates there are; chosen is one to add a view to. */
  offer(templates, chosen = null) {
    const names = templates.map((template) => template.template_id);
    const option = (value, text) => element("option", { value }, text);
    this.select.replaceChildren(
      option("new", "New target"),
      ...names.map((name) => option(`add:${name}`, `Add a view to ${name}`)),
      ...names.map((name) => option(`replace:${name}`, `Replace ${name}`)),
    );
    this.select.value = chosen === null ? "new" : `add:${chosen}`;
    this.select.parentElement.hidden = names.length === 0;
    let number = 1;
    while (names.includes(`target ${number}`)) number += 1;
    this.input.value = `target ${number}`;
    this.#show();
  }

  /** {template_id, append} */
  get choice() {
    const { value } = this.select;
    if (value === "new") return { template_id: this.input.value.trim() || "target", append: false };
    const [what, name] = [value.slice(0, value.indexOf(":")), value.slice(value.indexOf(":") + 1)];
    return { template_id: name, append: what === "add" };
  }

  #show() {
    this.field.hidden = this.select.value !== "new";
  }
}
