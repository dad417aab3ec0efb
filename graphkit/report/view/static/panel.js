"use strict";
// The panel beside the drawing: what is selected, what was searched, the way between two values, findings, highlights.

function make(tag, properties, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (name === "class") element.className = value;
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return element;
}

const COLOURS = ["#d97706", "#2563eb", "#059669", "#db2777", "#7c3aed", "#0891b2", "#65a30d", "#dc2626"];

function bytes(count) {
  if (count < 1000) return `${count} B`;
  const units = ["kB", "MB", "GB", "TB"];
  let value = count, unit = -1;
  while (value >= 1000 && unit < units.length - 1) { value /= 1000; unit += 1; }
  return `${value.toFixed(value < 10 ? 2 : 1)} ${units[unit]}`;
}

function short(number) {
  if (number === null || number === undefined) return "?";
  return Number.isInteger(number) && Math.abs(number) < 1e6 ? String(number) : number.toPrecision(4);
}

class Panel {
  constructor(model, home, on) {
    this.model = model;
    this.home = home;
    this.on = on;                                    // {go(place), toggle(id), isOpen(id), path(from, to), paint(highlight)}
  }

  put(...children) {
    this.home.replaceChildren(...children.filter(Boolean));
    this.home.scrollTop = 0;
  }

  link(place, text) {
    return make("button", { class: "link", type: "button", onclick: () => this.on.go(place) }, cut(text ?? this.model.name(place), 60));
  }

  // ---- nothing selected: the model ----

  overview() {
    const { about } = this.model;
    this.put(
      make("h2", {}, about.name),
      table(about.facts),
      this.notes(about.notes),
      this.legend(),
      this.findings(),
      this.history(about.history),
      make("p", { class: "foot" }, about.foot),
    );
  }

  notes(notes) {
    return notes.length ? make("ul", { class: "notes" }, ...notes.map((note) => make("li", {}, note))) : null;
  }

  legend() {
    const { highlights } = this.model;
    if (!highlights.length) return null;
    const rows = highlights.map((highlight, at) => make("li", {},
      make("span", { class: "swatch", style: `background:${COLOURS[at % COLOURS.length]}` }),
      make("button", { class: "link", type: "button", onclick: () => this.on.reveal(highlight.places) }, `${highlight.label} (${highlight.places.length})`),
      highlight.note ? make("div", { class: "quiet" }, highlight.note) : null));
    return make("section", { id: "highlights" }, make("h3", {}, "Highlighted"), make("ul", { class: "plain" }, ...rows));
  }

  findings() {
    const { marks } = this.model;
    if (!marks.length) return null;
    const rows = marks.slice(0, 200).map((mark) => this.finding(mark));
    if (marks.length > rows.length) rows.push(make("li", { class: "quiet" }, `${marks.length - rows.length} more`));
    return make("section", { id: "findings" }, make("h3", {}, `Findings (${marks.length})`), make("ul", { class: "plain" }, ...rows));
  }

  finding(mark) {
    return make("li", { class: `finding ${mark.level}` },
      make("b", {}, mark.kind), ` ${mark.message}`,
      mark.remedy ? make("div", { class: "quiet" }, mark.remedy) : null,
      ...mark.places.slice(0, 3).map((place) => make("div", {}, this.link(place))),
      make("div", { class: "quiet" }, mark.source));
  }

  history(steps) {
    if (!steps.length) return null;
    return make("section", {}, make("h3", {}, "History"), make("ol", {}, ...steps.map((step) => make("li", {}, step))));
  }

  // ---- a box ----

  box(element) {
    const { model } = this, place = [element.graph, element.box], node = model.node(place);
    const domain = node.d === undefined ? "" : `${model.text(node.d)}::`;
    const facts = [["name", model.text(node.n)]];
    if (node.m !== undefined) facts.push(["module", model.text(node.m)]);
    if (node.s !== undefined) facts.push(["source", model.text(node.s)]);
    this.put(
      make("h2", {}, domain + model.text(node.o)),
      table(facts),
      this.actions(element, place),
      this.findingsAt(place),
      node.a ? make("section", {}, make("h3", {}, "Attributes"), table(node.a.map(([name, value]) => [model.text(name), model.text(value)]))) : null,
      this.values("Inputs", node.i, (value) => this.maker(value)),
      node.c?.length ? this.values("Taken from outside", node.c, (value) => this.maker(value)) : null,
      this.values("Outputs", node.y, (value) => this.readersOf(value)),
    );
  }

  actions(element, place) {
    const buttons = [];
    const inner = this.model.inner(this.model.node(place));
    if (inner.length && element.id !== null) {
      const open = this.on.isOpen(element.id), what = inner.length > 1 ? "bodies" : this.model.node(place).f ? "function" : "body";
      buttons.push(make("button", { type: "button", onclick: () => this.on.toggle(element.id) }, `${open ? "Close" : "Open"} ${what}`));
    }
    buttons.push(make("button", { type: "button", onclick: () => this.on.fillPath("from", place) }, "Path from here"));
    buttons.push(make("button", { type: "button", onclick: () => this.on.fillPath("to", place) }, "Path to here"));
    return make("p", { class: "actions" }, ...buttons);
  }

  findingsAt(place) {
    const marks = this.model.marksAt.get(place.join(":")) ?? [];
    return marks.length ? make("section", {}, make("h3", {}, "Findings"), make("ul", { class: "plain" }, ...marks.map((mark) => this.finding(mark)))) : null;
  }

  values(title, values, more) {
    if (!values.length) return null;
    const rows = values.map((value) => value < 0 ? make("li", { class: "quiet" }, "left out") : make("li", {},
      make("code", {}, cut(this.model.valueName(value), 80)),
      make("div", { class: "quiet" }, this.model.type(value) || "type unknown"),
      more(value), this.weightOf(value)));
    return make("section", {}, make("h3", {}, title), make("ol", { class: "values" }, ...rows));
  }

  maker(value) {
    const place = this.model.makers[value];
    if (!place || this.model.node(place).k === CONSTANT) return null;
    return make("div", {}, "made by ", this.link(place, `${this.model.operator(place)} ${this.model.name(place)}`));
  }

  readersOf(value) {
    const places = this.model.readers.get(value) ?? [];
    const shown = places.slice(0, 12).map((place) => make("div", {}, "read by ", this.link(place, `${this.model.operator(place)} ${this.model.name(place)}`)));
    if (places.length > shown.length) shown.push(make("div", { class: "quiet" }, `and ${places.length - shown.length} more`));
    return make("div", {}, ...shown);
  }

  weightOf(value) {
    const weight = this.model.weight(value);
    if (!weight) return null;
    const [size, where, said] = weight, place = this.model.text(where);
    const parts = [make("div", { class: "quiet" }, `${bytes(size)}${place ? ` in ${place}` : ""}`)];
    if (typeof said === "string") parts.push(make("div", { class: "quiet" }, said));
    else if (said) parts.push(statistics(said), histogram(said));
    else parts.push(make("div", { class: "quiet" }, "not read for this page"));
    return make("div", { class: "weight" }, ...parts);
  }

  // ---- a group ----

  group(element) {
    const { model } = this, graph = model.graphs[element.graph], [name, , kind, path] = graph.groups[element.group];
    const boxes = model.boxesIn(element.graph, element.group).map((box) => [element.graph, box]);
    const counts = new Map();
    for (const place of boxes) if (!model.node(place).k) counts.set(model.operator(place), (counts.get(model.operator(place)) ?? 0) + 1);
    const held = new Set(boxes.flatMap((place) => model.reads(model.node(place))).filter((value) => model.weight(value)));
    const size = [...held].reduce((sum, value) => sum + model.weight(value)[0], 0);
    const facts = [["nodes", graph.counts[element.group].toLocaleString("en")], ["weights", `${held.size}, ${bytes(size)}`]];
    if (model.text(path)) facts.unshift(["path", model.text(path)]);
    if (model.text(kind)) facts.unshift(["class", model.text(kind)]);
    this.put(
      make("h2", {}, model.text(name)),
      table(facts),
      make("p", { class: "actions" }, make("button", { type: "button", onclick: () => this.on.toggle(element.id) }, this.on.isOpen(element.id) ? "Close" : "Open")),
      make("h3", {}, "Operators"),
      table([...counts].sort((a, b) => b[1] - a[1]).slice(0, 40).map(([operator, count]) => [operator, String(count)])),
    );
  }

  // ---- lists ----

  results(text, { found, count }) {
    this.put(
      make("h2", {}, `${count.toLocaleString("en")} found`),
      count > found.length ? make("p", { class: "quiet" }, `the first ${found.length}`) : null,
      make("ul", { class: "plain", id: "results" }, ...found.map((place) => make("li", {}, make("b", {}, this.model.operator(place)), " ", this.link(place)))),
    );
  }

  path(from, to, found) {
    const said = found ? `${found.steps.length} boxes on a shortest path, ${found.all.length} on any` : `nothing leads from ${from} to ${to}`;
    this.put(
      make("h2", {}, "Path"),
      make("p", {}, said),
      found ? make("ol", { id: "path" }, ...found.steps.map((box) => make("li", {}, make("b", {}, this.model.operator([0, box])), " ", this.link([0, box])))) : null,
    );
  }

  keys() {
    const keys = [["/", "search"], ["Enter", "open or close what is selected"], ["↑ ↓", "along the edges"], ["← →", "to the neighbours"], ["f", "fit"], ["+ −", "larger, smaller"], ["e", "open one level everywhere"], ["c", "close all"], ["Escape", "select nothing"], ["?", "these keys"]];
    this.put(make("h2", {}, "Keys"), table(keys));
  }
}

function table(rows) {
  return make("table", {}, ...rows.map(([name, value]) => make("tr", {}, make("th", { scope: "row" }, name), make("td", {}, value))));
}

function statistics(said) {
  if (said.of === 1 && said.values) return table([["value", said.values]]);
  const parts = [["min", short(said.min)], ["max", short(said.max)], ["mean", short(said.mean)], ["std", short(said.std)], ["zeros", String(said.zeros)]];
  if (said.nan) parts.push(["NaN", String(said.nan)]);
  if (said.inf) parts.push(["infinite", String(said.inf)]);
  if (said.values) parts.push(["values", said.values]);
  if (said.read < said.of) parts.push(["of", `${said.read.toLocaleString("en")} of ${said.of.toLocaleString("en")} elements`]);
  return table(parts);
}

function histogram(said) {
  if (!said.bins || said.bins.length < 2) return null;
  const width = 240, height = 56, most = Math.max(...said.bins), step = width / said.bins.length;
  const image = svg("svg", { class: "histogram", width, height: height + 14, viewBox: `0 0 ${width} ${height + 14}`, role: "img", "aria-label": "histogram" });
  said.bins.forEach((count, at) => {
    const tall = count ? Math.max(1, (height * count) / most) : 0;
    image.append(svg("rect", { x: at * step, y: height - tall, width: step - 1, height: tall }, svg("title", {}, document.createTextNode(String(count)))));
  });
  image.append(svg("text", { x: 0, y: height + 12 }, document.createTextNode(short(said.min))));
  image.append(svg("text", { x: width, y: height + 12, "text-anchor": "end" }, document.createTextNode(short(said.max))));
  return image;
}
