"use strict";
// Drawing what was laid out as SVG, moving and scaling it. Text of the model is only ever set as text, never as HTML.

const SVG = document.getElementById("drawing").namespaceURI;

function svg(tag, attributes, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes ?? {})) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

// Kinds of operators, for the stripe on the left of a box.
const KINDS = {
  weights: "Conv ConvTranspose ConvInteger QLinearConv Gemm MatMul MatMulInteger QLinearMatMul MatMulNBits LSTM GRU RNN Attention Einsum DeformConv",
  activation: "Relu LeakyRelu PRelu Sigmoid HardSigmoid Tanh Softmax LogSoftmax Gelu Elu Selu Celu Silu Swish HardSwish Mish Softplus Softsign Clip Erf ThresholdedRelu",
  norm: "BatchNormalization LayerNormalization InstanceNormalization GroupNormalization RMSNormalization LpNormalization MeanVarianceNormalization LRN SimplifiedLayerNormalization SkipLayerNormalization",
  pool: "MaxPool AveragePool GlobalAveragePool GlobalMaxPool LpPool Resize Upsample ReduceMean ReduceSum ReduceMax ReduceMin ReduceProd ReduceL2 ArgMax ArgMin TopK",
  shape: "Reshape Transpose Flatten Squeeze Unsqueeze Concat Split Slice Gather GatherND GatherElements Scatter ScatterND ScatterElements Expand Tile Pad Shape Size Identity Cast CastLike ConstantOfShape Range DepthToSpace SpaceToDepth",
  flow: "If Loop Scan SequenceMap SequenceAt SequenceInsert SequenceConstruct",
  quant: "QuantizeLinear DequantizeLinear DynamicQuantizeLinear",
};
const KIND_OF = new Map(Object.entries(KINDS).flatMap(([kind, names]) => names.split(" ").map((name) => [name, kind])));

class Canvas {
  constructor(model, surface, on) {
    this.model = model;
    this.surface = surface;
    this.on = on;                                    // {select(id), toggle(id)}
    this.view = { x: 0, y: 0, scale: 1 };
    this.layer = svg("g");
    surface.append(arrow(), this.layer);
    this.listen();
  }

  // Draw a scene at the places that ELK gave.
  draw(scene, laid) {
    this.scene = scene;
    this.size = { width: laid.width, height: laid.height };
    this.places = new Map();
    this.shapes = new Map();
    this.lines = [];
    const boxes = svg("g"), edges = svg("g", { class: "edges" });
    for (const child of laid.children ?? []) this.addNode(child, boxes);
    for (const edge of laid.edges ?? []) this.addEdge(edge, edges);
    this.layer.replaceChildren(boxes, edges);
    this.paint();
  }

  addNode(node, home) {
    const element = this.scene.elements.get(node.id);
    this.places.set(node.id, node);
    const open = Boolean(node.children?.length), shape = this.shape(element, node, open);
    this.shapes.set(node.id, shape);
    home.append(shape);
    for (const child of node.children ?? []) this.addNode(child, home);
  }

  shape(element, place, open) {
    const [first, second] = lines(this.model, element), { x, y, width, height } = place;
    const shape = svg("g", { class: this.classes(element, open), transform: `translate(${x},${y})`, tabindex: "0", role: "button" });
    shape.dataset.id = element.id;
    shape.setAttribute("aria-label", `${first} ${second}`.trim());
    shape.append(svg("title", {}, document.createTextNode(`${first}\n${second}`)));
    shape.append(svg("rect", { class: "body", width, height, rx: this.isPort(element) ? height / 2 : 6 }));
    if (!open && !this.isPort(element)) shape.append(svg("rect", { class: "stripe", width: 5, height: height - 12, x: 5, y: 6, rx: 2 }));
    const centre = open ? 12 : width / 2, anchor = open ? "start" : "middle", top = second ? 18 : height / 2 + 5;
    shape.append(svg("text", { class: "first", x: centre, y: open ? 17 : top, "text-anchor": anchor }, document.createTextNode(first)));
    if (second) shape.append(svg("text", { class: "second", x: centre, y: open ? 30 : 33, "text-anchor": anchor }, document.createTextNode(second)));
    if (opens(this.model, element)) shape.append(this.switch(element.id, width, open));
    const marks = this.marksOf(element);
    if (marks.length) shape.append(badge(marks));
    return shape;
  }

  isPort(element) { return "box" in element && Boolean(this.model.graphs[element.graph].nodes[element.box].k) && !element.head; }

  switch(id, width, open) {
    const button = svg("g", { class: "switch", transform: `translate(${width - 13},13)` });
    button.append(svg("circle", { r: 8 }), svg("path", { d: open ? "M-4 0H4" : "M-4 0H4M0-4V4" }));
    button.addEventListener("click", (event) => { event.stopPropagation(); this.on.toggle(id); });
    return button;
  }

  classes(element, open) {
    const names = ["box"];
    if ("group" in element) names.push("group");
    if ("body" in element) names.push("inside");
    if (open) names.push("open");
    if ("box" in element) {
      const node = this.model.graphs[element.graph].nodes[element.box];
      names.push(node.k && !element.head ? "port" : "kind-" + (KIND_OF.get(this.model.text(node.o)) ?? (this.model.inner(node).length ? "flow" : "other")));
    }
    return names.join(" ");
  }

  marksOf(element) {
    if (element.head || "body" in element) return [];
    if ("box" in element) return this.model.marksAt.get(`${element.graph}:${element.box}`) ?? [];
    if (this.scene.open.has(element.id) || !this.model.marksAt.size) return [];
    const inside = new Set(this.model.boxesIn(element.graph, element.group));
    return [...this.model.marksAt].filter(([key]) => {
      const [graph, box] = key.split(":").map(Number);
      return graph === element.graph && inside.has(box);
    }).flatMap(([, marks]) => marks);
  }

  addEdge(edge, home) {
    const known = this.scene.edges.get(edge.id), group = svg("g", { class: "edge" });
    for (const section of edge.sections ?? []) {
      const points = [section.startPoint, ...(section.bendPoints ?? []), section.endPoint];
      group.append(svg("path", { d: rounded(points), "marker-end": "url(#arrow)" }));
    }
    for (const label of edge.labels ?? []) {
      const at = { x: label.x + label.width / 2, y: label.y + 11, "text-anchor": "middle" };
      group.append(svg("text", at, document.createTextNode(label.text)));
    }
    const names = [...known.values].slice(0, 12).map((value) => `${this.model.valueName(value)}: ${this.model.type(value) || "type unknown"}`);
    group.prepend(svg("title", {}, document.createTextNode(names.join("\n") + (known.values.size > 12 ? "\n…" : ""))));
    this.lines.push([known, group]);
    home.append(group);
  }

  // Show what is selected, what is on a path and what is highlighted.
  paint() {
    const { selected, painted } = this.on.state();
    for (const [id, shape] of this.shapes) {
      shape.classList.toggle("selected", id === selected);
      const colour = this.colour(this.scene.elements.get(id), painted);
      if (colour) shape.style.setProperty("--paint", colour); else shape.style.removeProperty("--paint");
      shape.classList.toggle("painted", Boolean(colour));
    }
    for (const [edge, line] of this.lines) line.classList.toggle("on", edge.source === selected || edge.target === selected);
    this.layer.classList.toggle("dimmed", painted.size > 0);
  }

  // The colour of a box, or of a closed group that holds painted boxes.
  colour(element, painted) {
    if (!painted.size || "body" in element) return null;
    if ("box" in element) return painted.get(`${element.graph}:${element.box}`) ?? null;
    if (this.scene.open.has(element.id)) return null;
    for (const box of this.model.boxesIn(element.graph, element.group)) {
      const colour = painted.get(`${element.graph}:${box}`);
      if (colour) return colour;
    }
    return null;
  }

  // ---- moving and scaling ----

  listen() {
    const surface = this.surface;
    let drag = null;
    surface.addEventListener("wheel", (event) => { event.preventDefault(); this.zoom(Math.exp(-event.deltaY / 500), event.offsetX, event.offsetY); }, { passive: false });
    surface.addEventListener("pointerdown", (event) => { drag = { x: event.clientX, y: event.clientY, moved: false }; });
    surface.addEventListener("pointermove", (event) => {
      if (!drag || !event.buttons) return;
      const dx = event.clientX - drag.x, dy = event.clientY - drag.y;
      if (!drag.moved && Math.hypot(dx, dy) < 4) return;
      drag = { x: event.clientX, y: event.clientY, moved: true };
      this.view.x += dx; this.view.y += dy;
      this.place();
    });
    surface.addEventListener("click", (event) => {
      if (drag?.moved) return;
      this.on.select(event.target.closest(".box")?.dataset.id ?? null);
    });
    surface.addEventListener("dblclick", (event) => { const id = event.target.closest(".box")?.dataset.id; if (id) this.on.toggle(id); });
  }

  zoom(factor, x = this.surface.clientWidth / 2, y = this.surface.clientHeight / 2) {
    const scale = Math.min(4, Math.max(0.02, this.view.scale * factor)), by = scale / this.view.scale;
    this.view = { scale, x: x - (x - this.view.x) * by, y: y - (y - this.view.y) * by };
    this.place();
  }

  fit() {
    const { clientWidth: width, clientHeight: height } = this.surface, edge = 24;
    const whole = Math.min((width - 2 * edge) / this.size.width, (height - 2 * edge) / this.size.height, 1.25);
    const scale = Math.max(whole, Math.min(0.35, (width - 2 * edge) / this.size.width));
    this.view = { scale, x: (width - this.size.width * scale) / 2, y: scale > whole ? edge : (height - this.size.height * scale) / 2 };
    this.place();
  }

  // Move so that an element is seen; scaled up where it would be too small to read.
  show(id) {
    const place = this.places.get(id);
    if (!place) return;
    const scale = Math.max(this.view.scale, 0.8), { clientWidth: width, clientHeight: height } = this.surface;
    const tall = Math.min(place.height, height / scale - 80);
    this.view = { scale, x: width / 2 - (place.x + place.width / 2) * scale, y: height / 2 - (place.y + tall / 2) * scale };
    this.place();
  }

  place() { this.layer.setAttribute("transform", `translate(${this.view.x},${this.view.y}) scale(${this.view.scale})`); }

  onScreen(id) {
    const place = this.places?.get(id);
    return place && { x: place.x * this.view.scale + this.view.x, y: place.y * this.view.scale + this.view.y };
  }

  // Keep an element where it was while what is around it moves.
  hold(id, before) {
    const now = this.onScreen(id);
    if (!now || !before) return;
    this.view.x += before.x - now.x;
    this.view.y += before.y - now.y;
    this.place();
  }
}

function arrow() {
  const marker = svg("marker", { id: "arrow", viewBox: "0 0 8 8", refX: "7", refY: "4", markerWidth: "8", markerHeight: "8", markerUnits: "userSpaceOnUse", orient: "auto" });
  marker.append(svg("path", { d: "M0 0L8 4L0 8Z", class: "tip" }));
  return svg("defs", {}, marker);
}

function badge(marks) {
  const worst = ["error", "warning", "note"].find((level) => marks.some((mark) => mark.level === level));
  const group = svg("g", { class: `badge ${worst}`, transform: "translate(2,2)" });
  const said = marks.slice(0, 6).map((mark) => `${mark.kind}: ${mark.message}`).join("\n");
  group.append(svg("title", {}, document.createTextNode(said)), svg("circle", { r: 8 }));
  group.append(svg("text", { y: 4, "text-anchor": "middle" }, document.createTextNode(marks.length > 9 ? "9+" : String(marks.length))));
  return group;
}

// A line through points, its corners rounded.
function rounded(points) {
  let path = `M${points[0].x} ${points[0].y}`;
  for (let at = 1; at < points.length - 1; at += 1) {
    const [a, b, c] = [points[at - 1], points[at], points[at + 1]];
    const r = Math.min(6, Math.hypot(b.x - a.x, b.y - a.y) / 2, Math.hypot(c.x - b.x, c.y - b.y) / 2);
    const before = towards(b, a, r), after = towards(b, c, r);
    path += `L${before.x} ${before.y}Q${b.x} ${b.y} ${after.x} ${after.y}`;
  }
  const last = points[points.length - 1];
  return `${path}L${last.x} ${last.y}`;
}

function towards(from, to, distance) {
  const length = Math.hypot(to.x - from.x, to.y - from.y) || 1;
  return { x: from.x + ((to.x - from.x) * distance) / length, y: from.y + ((to.y - from.y) * distance) / length };
}
