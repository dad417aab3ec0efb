"use strict";
// From what is open to what is seen: the tree of elements, the edges between them, and their places (by ELK, in a worker).

const MOST_LABELS = 250;      // edges up to which each says its dims
const MOST_SEEN = 1500;       // boxes up to which opening goes on

class Scene {
  // What is seen of a model where some groups and nodes are open.
  constructor(model, open, { edges = true } = {}) {
    this.model = model;
    this.open = open;
    this.elements = new Map();                       // id -> element
    this.instances = [];
    this.root = { id: "", children: [] };
    this.edges = new Map();                          // "source|target" -> {source, target, values}
    this.addInstance({ key: "", graph: 0, outer: null }, this.root);
    if (edges) for (const instance of this.instances) this.addEdges(instance);
  }

  get boxes() {
    let count = 0;
    for (const element of this.elements.values()) if (!element.children) count += 1;
    return count;
  }

  addInstance(instance, parent) {
    instance.leaves = new Map();                     // group -> id of the outermost closed group around, or null
    instance.inner = new Map();                      // box -> the instances in it
    this.instances.push(instance);
    this.addChildren(instance, -1, parent);
  }

  addChildren(instance, group, parent) {
    for (const child of this.model.graphs[instance.graph].children.get(group)) {
      const id = instance.key + ("box" in child ? "n" + child.box : "g" + child.group);
      const element = { id, graph: instance.graph, parent, ...child };
      this.elements.set(id, element);
      parent.children.push(element);
      if (!this.open.has(id)) continue;
      if ("group" in child) {
        element.children = [];
        this.addChildren(instance, child.group, element);
      } else this.openNode(instance, child.box, element);
    }
  }

  // A node's bodies, or the function that it calls, inside of the node.
  openNode(instance, box, element) {
    const node = this.model.graphs[instance.graph].nodes[box], inner = this.model.inner(node);
    if (!inner.length) return;
    element.children = [];
    instance.inner.set(box, inner.map((graph, at) => {
      const made = { key: `${element.id}.${graph}/`, graph, outer: instance };
      let home = element;
      if (inner.length > 1) {
        const said = node.a?.[at] ? this.model.text(node.a[at][0]) : "body";
        home = { id: `${element.id}.${graph}`, graph, body: said, parent: element, children: [] };
        this.elements.set(home.id, home);
        element.children.push(home);
      }
      this.addInstance(made, home);
      return made;
    }));
  }

  // The id of what shows a box: itself, or the outermost closed group around it.
  leaf(instance, box) {
    const node = this.model.graphs[instance.graph].nodes[box];
    return this.closedAround(instance, node.g) ?? `${instance.key}n${box}`;
  }

  closedAround(instance, group) {
    if (group < 0) return null;
    if (!instance.leaves.has(group)) {
      const id = `${instance.key}g${group}`, outer = this.model.graphs[instance.graph].groups[group][1];
      instance.leaves.set(group, this.closedAround(instance, outer) ?? (this.open.has(id) ? null : id));
    }
    return instance.leaves.get(group);
  }

  addEdges(instance) {
    this.model.graphs[instance.graph].nodes.forEach((node, box) => {
      if (node.k === CONSTANT) return;
      const opened = instance.inner.get(box);
      node.i.forEach((value, at) => {
        if (value < 0) return;
        const targets = opened ? this.entries(instance, box, opened, at) : [this.leaf(instance, box)];
        for (const target of targets) this.addEdge(instance, value, target);
      });
      if (!opened) for (const value of node.c ?? []) this.addEdge(instance, value, this.leaf(instance, box));
    });
  }

  addEdge(instance, value, target) {
    for (const source of this.sources(instance, value)) {
      if (source === target) continue;
      const key = `${source}|${target}`;
      if (!this.edges.has(key)) this.edges.set(key, { source, target, values: new Set() });
      this.edges.get(key).values.add(value);
    }
  }

  // What shows the maker of a value, seen from an instance; nothing for weights and constants.
  sources(instance, value) {
    const maker = this.model.makers[value];
    if (!maker || this.model.node(maker).k === CONSTANT) return [];
    let home = instance;
    while (home && home.graph !== maker[0]) home = home.outer;
    if (!home) return [];
    const opened = home.inner.get(maker[1]);
    return opened ? this.exits(home, maker[1], opened, value) : [this.leaf(home, maker[1])];
  }

  // Where an input of an opened node goes: to the input of the same place in each graph that has one, else to its head.
  entries(instance, box, opened, at) {
    const found = [];
    for (const inner of opened) {
      const port = this.model.graphs[inner.graph].inputs[at];
      if (port !== undefined) found.push(this.leaf(inner, port));
    }
    return found.length ? found : [this.head(instance, box)];
  }

  // Where an output of an opened node comes from. The first output of a Loop's body is its condition.
  exits(instance, box, opened, value) {
    const node = this.model.graphs[instance.graph].nodes[box];
    const at = node.y.indexOf(value) + (this.model.text(node.o) === "Loop" ? 1 : 0);
    const found = [];
    for (const inner of opened) {
      const port = this.model.graphs[inner.graph].outputs[at];
      if (port !== undefined) found.push(this.leaf(inner, port));
    }
    return found.length ? found : [this.head(instance, box)];
  }

  // A small box in an opened node for what belongs to the node itself, such as the condition of an If.
  head(instance, box) {
    const id = `${instance.key}n${box}`, head = id + "h";
    if (!this.elements.has(head)) {
      const parent = this.elements.get(id), element = { id: head, graph: instance.graph, box, head: true, parent };
      this.elements.set(head, element);
      parent.children.push(element);
    }
    return head;
  }
}

// ---- sizes ----

const ruler = document.createElement("canvas").getContext("2d");
const FONT = "13px system-ui, sans-serif", SMALL = "11px system-ui, sans-serif";

function wide(text, font) {
  ruler.font = font;
  return Math.ceil(ruler.measureText(text).width);
}

function cut(text, most) {
  return text.length <= most ? text : `${text.slice(0, most - 9)}…${text.slice(-8)}`;
}

// The two lines of an element.
function lines(model, element) {
  const graph = model.graphs[element.graph];
  if ("body" in element) return [cut(element.body, 30), ""];
  if ("group" in element) {
    const [name, , kind] = graph.groups[element.group], count = graph.counts[element.group];
    const nodes = count ? `${count.toLocaleString("en")} node${count === 1 ? "" : "s"}` : "";
    return [cut(model.text(name), 40), [cut(model.text(kind), 30), nodes].filter(Boolean).join(" · ")];
  }
  const node = graph.nodes[element.box];
  if (element.head) return [cut(model.text(node.o), 30), ""];
  if (node.k) return [cut(model.text(node.n), 34), node.y.length ? cut(model.type(node.y[0]), 34) : cut(model.type(node.i[0]), 34)];
  return [cut(model.text(node.o), 30), cut(model.text(node.n), 30)];
}

// Whether there is something in an element that can be shown in place.
function opens(model, element) {
  if (element.head || "body" in element) return false;
  return "group" in element || model.inner(model.graphs[element.graph].nodes[element.box]).length > 0;
}

// ---- ELK ----

const LAYOUT = {
  "elk.algorithm": "layered",
  "elk.direction": "DOWN",
  "elk.hierarchyHandling": "INCLUDE_CHILDREN",
  "elk.edgeRouting": "ORTHOGONAL",
  "elk.json.edgeCoords": "ROOT",
  "elk.json.shapeCoords": "ROOT",
  "elk.layered.spacing.nodeNodeBetweenLayers": "26",
  "elk.spacing.nodeNode": "22",
  "elk.spacing.edgeNode": "14",
  "elk.layered.mergeEdges": "true",
};

function forElk(scene) {
  const many = scene.edges.size > MOST_LABELS;
  const options = { ...LAYOUT, "elk.layered.thoroughness": scene.elements.size > 200 ? "2" : "5" };
  const edges = [...scene.edges.entries()].map(([id, edge]) => {
    edge.label = many ? "" : edgeLabel(scene.model, edge);
    const labels = edge.label ? [{ text: edge.label, width: wide(edge.label, SMALL) + 6, height: 14 }] : [];
    return { id, sources: [edge.source], targets: [edge.target], labels };
  });
  return { id: "root", layoutOptions: options, children: scene.root.children.map((child) => elkNode(scene.model, child)), edges };
}

function elkNode(model, element) {
  const [first, second] = lines(model, element);
  const room = opens(model, element) ? 62 : 36;      // beside the text: the stripe, and the switch
  const width = Math.max(wide(first, "600 " + FONT), wide(second, SMALL)) + room, height = second ? 42 : 28;
  if (!element.children || !element.children.length) return { id: element.id, width, height };
  return {
    id: element.id,
    layoutOptions: { "elk.padding": "[top=36,left=14,bottom=14,right=14]", "elk.nodeSize.constraints": "MINIMUM_SIZE", "elk.nodeSize.minimum": `(${width},60)` },
    children: element.children.map((child) => elkNode(model, child)),
  };
}

function edgeLabel(model, edge) {
  const values = [...edge.values];
  return values.length === 1 ? cut(model.dims(values[0]), 28) : `${values.length} values`;
}

class Layouter {
  // ELK in a worker whose text is in the page: nothing is loaded from anywhere.
  constructor(source) {
    this.worker = new Worker(URL.createObjectURL(new Blob([source], { type: "text/javascript" })));
    this.waiting = new Map();
    this.count = 0;
    this.worker.onmessage = (message) => this.answer(message.data);
    this.worker.onerror = (error) => { for (const [, fail] of this.waiting.values()) fail(error); };
    this.ready = this.ask({ cmd: "register", algorithms: ["layered"] });
  }

  ask(message) {
    const id = this.count++;
    return new Promise((done, fail) => { this.waiting.set(id, [done, fail]); this.worker.postMessage({ id, ...message }); });
  }

  answer({ id, data, error }) {
    const [done, fail] = this.waiting.get(id) ?? [];
    this.waiting.delete(id);
    if (error) fail?.(error); else done?.(data);
  }

  async places(scene) {
    await this.ready;
    return this.ask({ cmd: "layout", graph: forElk(scene), layoutOptions: {}, options: {} });
  }
}
