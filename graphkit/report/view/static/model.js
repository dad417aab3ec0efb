"use strict";
// The model as data: who makes a value, who reads it, what stands where. Nothing here touches the page.
//
// A *box* is a node, or an input or output of a graph. An *instance* is a graph where it is drawn: the main graph, or a
// body or function inside of an opened node. An *element* is what can be seen: a box or a group, known by its id, such
// as "g3" (group 3 of the main graph) or "n12.4/n0" (box 0 of graph 4, inside of node 12 of the main graph).

const INPUT = 1, OUTPUT = 2, CONSTANT = 3;

class ModelData {
  constructor(data) {
    this.texts = data.drawing.texts;
    this.values = data.drawing.values;
    this.weights = data.drawing.weights;
    this.graphs = data.drawing.graphs;
    this.marks = data.marks;
    this.highlights = data.highlights;
    this.about = data.about;
    this.makers = new Array(this.values.length);     // value -> [graph, box] that makes it
    this.readers = new Map();                        // value -> [[graph, box], ...]
    this.graphs.forEach((graph, number) => this.index(graph, number));
    this.placeMarks();
  }

  index(graph, number) {
    graph.number = number;
    graph.children = new Map([[-1, []]]);            // group (-1: the graph) -> [{group} or {box}, ...]
    graph.counts = graph.groups.map(() => 0);        // nodes in each group, those of inner groups included
    graph.groups.forEach((_, at) => graph.children.set(at, []));
    graph.groups.forEach((group, at) => graph.children.get(group[1]).push({ group: at }));
    graph.nodes.forEach((node, at) => {
      if (node.k !== CONSTANT) graph.children.get(node.g).push({ box: at });
      for (const value of node.y) if (value >= 0) this.makers[value] = [number, at];
      for (const value of this.reads(node)) this.addReader(value, [number, at]);
      for (const inner of this.inner(node)) this.graphs[inner].owner ??= [number, at];
      if (!node.k) for (let g = node.g; g >= 0; g = graph.groups[g][1]) graph.counts[g] += 1;
    });
  }

  addReader(value, place) {
    const known = this.readers.get(value);
    if (known) known.push(place); else this.readers.set(value, [place]);
  }

  // The values that a box reads: its inputs, and what its bodies take from outside.
  reads(node) {
    const read = node.i.filter((value) => value >= 0);
    return node.c ? read.concat(node.c) : read;
  }

  // The graphs that a node opens to: its bodies, or the function that it calls.
  inner(node) {
    return node.b ?? (node.f ? [node.f] : []);
  }

  text(number) { return this.texts[number]; }
  node(place) { return this.graphs[place[0]].nodes[place[1]]; }
  name(place) { return this.text(this.node(place).n); }
  operator(place) { return this.text(this.node(place).o); }
  valueName(value) { return this.text(this.values[value][0]); }
  type(value) { return this.text(this.values[value][1]); }
  weight(value) { return this.values[value].length > 2 ? this.weights[this.values[value][2]] : null; }

  // "1×3×n×n" of "float32[1,3,n,n]"; the type itself where it has no dims.
  dims(value) {
    const type = this.type(value), at = type.indexOf("[");
    if (at < 0 || !type.endsWith("]")) return type;
    return type.slice(at + 1, -1).replaceAll(",", "×") || "scalar";
  }

  placeMarks() {
    this.marksAt = new Map();                        // "graph:box" -> marks
    for (const mark of this.marks) {
      for (const place of mark.places) {
        const key = place.join(":");
        if (!this.marksAt.has(key)) this.marksAt.set(key, []);
        this.marksAt.get(key).push(mark);
      }
    }
  }

  // The id of the box at a place, in the first instance that shows it; null in a function that nothing calls.
  idOf([graph, box]) {
    let key = "";
    for (let at = graph, depth = 0; at !== 0; depth += 1) {
      const owner = this.graphs[at].owner;
      if (!owner || depth > 200) return null;
      key = `n${owner[1]}.${at}/${key}`;
      at = owner[0];
    }
    return `${key}n${box}`;
  }

  // What an id stands for: {graph, box} or {graph, group}, and the key of the instance; null where there is none such.
  parse(id) {
    const parts = String(id).split("/"), last = /^([ng])(\d+)$/.exec(parts.pop());
    let graph = 0;
    for (const part of parts) {
      const step = /^n(\d+)\.(\d+)$/.exec(part), node = step && this.graphs[graph].nodes[Number(step[1])];
      if (!node || !this.inner(node).includes(Number(step[2]))) return null;
      graph = Number(step[2]);
    }
    if (!last) return null;
    const number = Number(last[2]), key = parts.map((part) => part + "/").join("");
    const known = last[1] === "n" ? this.graphs[graph].nodes : this.graphs[graph].groups;
    if (number >= known.length) return null;
    return last[1] === "n" ? { graph, box: number, key } : { graph, group: number, key };
  }

  // The ids of everything that must be open for an element to be seen, outermost first.
  around(id) {
    const found = [], parts = id.split("/"), tail = parts.pop();
    let graph = 0, key = "";
    const groupsOf = (group) => {
      const chain = [];
      for (let at = group; at >= 0; at = this.graphs[graph].groups[at][1]) chain.unshift(`${key}g${at}`);
      found.push(...chain);
    };
    for (const part of parts) {
      const [, box, inner] = /^n(\d+)\.(\d+)$/.exec(part);
      groupsOf(this.graphs[graph].nodes[box].g);
      found.push(`${key}n${box}`);
      key += part + "/";
      graph = Number(inner);
    }
    const number = Number(tail.slice(1));
    groupsOf(tail[0] === "n" ? this.graphs[graph].nodes[number].g : this.graphs[graph].groups[number][1]);
    return found;
  }

  // Every box in a group, those of inner groups included.
  boxesIn(graph, group) {
    const found = [], waiting = [group];
    while (waiting.length) {
      for (const child of this.graphs[graph].children.get(waiting.pop())) {
        if ("box" in child) found.push(child.box); else waiting.push(child.group);
      }
    }
    return found;
  }

  // The places whose name, operator, module or value types hold every word of a text.
  search(text, most) {
    const words = text.toLowerCase().split(/\s+/).filter(Boolean), found = [];
    let count = 0;
    if (!words.length) return { found, count };
    this.graphs.forEach((graph, number) => graph.nodes.forEach((node, box) => {
      const said = this.words(node);
      if (!words.every((word) => said.includes(word))) return;
      count += 1;
      if (found.length < most) found.push([number, box]);
    }));
    return { found, count };
  }

  words(node) {
    const parts = [this.text(node.o), this.text(node.n)];
    if (node.m !== undefined) parts.push(this.text(node.m));
    for (const value of [...node.i, ...node.y]) if (value >= 0) parts.push(this.valueName(value), this.type(value));
    return parts.join(" ").toLowerCase();
  }

  // The places that a name stands for: the box that makes the value, else the node of that name, else what reads the
  // value (a weight); exact names only.
  named(name) {
    const makers = [], nodes = [];
    this.graphs.forEach((graph, number) => graph.nodes.forEach((node, box) => {
      if (node.y.some((value) => value >= 0 && this.valueName(value) === name)) makers.push([number, box]);
      else if (this.text(node.n) === name) nodes.push([number, box]);
    }));
    const found = makers.concat(nodes);
    if (found.length) return found;
    return this.values.flatMap((_, value) => (this.valueName(value) === name ? this.readers.get(value) ?? [] : []));
  }

  // The box of the main graph that a place lies in.
  inMain(place) {
    let at = place;
    for (let depth = 0; at && at[0] !== 0 && depth < 200; depth += 1) at = this.graphs[at[0]].owner;
    return at;
  }

  // What lies between two boxes of the main graph: {steps: a shortest way, all: every box on some way}; null for no way.
  between(from, to) {
    const forward = this.reach(from, (box) => this.after(box)), back = this.reach(to, (box) => this.before(box));
    if (!forward.has(to)) return null;
    const steps = [to];
    while (steps[0] !== from) steps.unshift(forward.get(steps[0]));
    return { steps, all: [...forward.keys()].filter((box) => back.has(box)) };
  }

  // Box -> the box from which it was reached first.
  reach(start, next) {
    const seen = new Map([[start, null]]);
    let front = [start];
    while (front.length) {
      const reached = [];
      for (const box of front) for (const other of next(box)) if (!seen.has(other)) { seen.set(other, box); reached.push(other); }
      front = reached;
    }
    return seen;
  }

  after(box) {
    const found = [];
    for (const value of this.graphs[0].nodes[box].y) {
      for (const place of this.readers.get(value) ?? []) { const at = this.inMain(place); if (at) found.push(at[1]); }
    }
    return found;
  }

  before(box) {
    return this.reads(this.graphs[0].nodes[box]).map((value) => this.makers[value]).filter((at) => at && at[0] === 0).map((at) => at[1]);
  }
}
