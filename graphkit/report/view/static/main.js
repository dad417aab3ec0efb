"use strict";
// What the reader does: opening, selecting, searching, keys, links, themes.

const FEW = 18;               // boxes that the page opens with, where the model allows it
const SMALL_MODEL = 40;       // boxes up to which everything is open from the start
const MOST_REVEALED = 60;     // highlighted boxes up to which what is around them is opened

class App {
  constructor(model, layouter) {
    this.model = model;
    this.layouter = layouter;
    this.open = new Set();
    this.selected = null;
    this.painted = new Map();
    const on = {
      select: (id) => this.select(id), toggle: (id) => this.toggle(id), state: () => this,
      go: (place) => this.go(place), isOpen: (id) => this.open.has(id),
      reveal: (places) => this.revealAll(places), fillPath: (end, place) => this.fillPath(end, place),
    };
    this.canvas = new Canvas(model, byId("drawing"), on);
    this.panel = new Panel(model, byId("panel"), on);
    this.turn = 0;
  }

  async start() {
    this.paintHighlights();
    this.openFew();
    for (const highlight of this.model.highlights) {
      if (highlight.places.length <= MOST_REVEALED) for (const place of highlight.places) this.openAround(this.model.idOf(place));
    }
    const target = this.fromHash();
    if (target) this.openAround(target);
    this.panel.overview();
    if (!(await this.show())) return;
    this.canvas.fit();
    if (target) this.select(target, { move: true });
    else if (location.hash) say(`there is no ${this.hashText().slice(0, 80)} in this model`);
    this.listen();
    document.body.dataset.ready = "yes";
  }

  // ---- what is open ----

  // Open the largest closed group again and again, as long as few boxes are seen.
  openFew() {
    const total = this.model.graphs[0].nodes.filter((node) => node.k !== CONSTANT).length;
    const most = total <= SMALL_MODEL ? SMALL_MODEL : FEW;
    for (;;) {
      const scene = new Scene(this.model, this.open, { edges: false });
      const closed = [...scene.elements.values()].filter((element) => "group" in element && !element.children);
      const grown = closed.map((element) => [element, scene.boxes - 1 + this.model.graphs[0].children.get(element.group).length]);
      const fitting = grown.filter(([, boxes]) => boxes <= most);
      if (!fitting.length) return;
      const count = (element) => this.model.graphs[0].counts[element.group];
      this.open.add(fitting.reduce((best, other) => (count(other[0]) > count(best[0]) ? other : best))[0].id);
    }
  }

  openAround(id) { if (id !== null) for (const outer of this.model.around(id)) this.open.add(outer); }

  async toggle(id) {
    const element = this.canvas.scene.elements.get(id);
    if (!element || !opens(this.model, element)) return;
    const before = this.canvas.onScreen(id);
    if (this.open.has(id)) this.close(id); else this.open.add(id);
    if (!(await this.show())) return;
    this.canvas.hold(id, before);
    this.select(id);
  }

  close(id) {
    const element = this.canvas.scene.elements.get(id);
    const inner = (child) => { this.open.delete(child.id); child.children?.forEach(inner); };
    inner(element);
  }

  async openLevel() {
    const scene = this.canvas.scene;
    for (const element of scene.elements.values()) if ("group" in element && !element.children) this.open.add(element.id);
    await this.show();
  }

  async closeAll() {
    this.open.clear();
    this.openFew();
    await this.show();
    this.canvas.fit();
  }

  // Lay out and draw what is open. False where that was too much, or something newer came.
  async show() {
    const turn = ++this.turn, scene = new Scene(this.model, this.open);
    if (scene.boxes > MOST_SEEN) {
      this.open = new Set(this.canvas.scene?.open ?? []);
      say(`that would be ${scene.boxes.toLocaleString("en")} boxes: open single groups instead`);
      return false;
    }
    scene.open = new Set(this.open);
    say("laying out …");
    let laid;
    try { laid = await this.layouter.places(scene); } catch (error) { say(`the layout failed: ${error?.text ?? error?.message ?? error}`); return false; }
    if (turn !== this.turn) return false;
    this.canvas.draw(scene, laid);
    const nodes = this.model.graphs[0].nodes.filter((node) => !node.k).length;
    say(`${scene.boxes.toLocaleString("en")} boxes of ${nodes.toLocaleString("en")} nodes`);
    return true;
  }

  // ---- what is selected ----

  select(id, { move = false, link = true } = {}) {
    const element = id ? this.canvas.scene.elements.get(id) : null;
    if (element && "body" in element) return this.select(element.parent.id, { move, link });
    this.selected = element ? element.id : null;
    if (!element) this.panel.overview();
    else if ("group" in element) this.panel.group(element);
    else this.panel.box(element);
    this.canvas.paint();
    if (move && element) this.canvas.show(element.id);
    const hash = element ? `#${element.id.replace(/h$/, "")}` : "";
    if (link && location.hash !== hash) { this.ownHash = hash; location.hash = hash; }
    return undefined;
  }

  // Show a box; what is not drawn (a constant, a function that nothing calls) in the panel alone.
  go(place) {
    const id = this.model.idOf(place);
    if (id === null || this.model.node(place).k === CONSTANT) this.panel.box({ id: null, graph: place[0], box: place[1] });
    else this.reveal(id);
  }

  async reveal(id) {
    const known = this.model.parse(id);
    if (!known) return;
    if ("box" in known && this.model.graphs[known.graph].nodes[known.box].k === CONSTANT) { this.go([known.graph, known.box]); return; }
    const before = this.open.size;
    this.openAround(id);
    if (this.open.size !== before && !(await this.show())) return;
    this.select(id, { move: true });
  }

  async revealAll(places) {
    for (const place of places.slice(0, MOST_REVEALED)) this.openAround(this.model.idOf(place));
    if (await this.show()) this.canvas.fit();
  }

  // "#n12", "#node=NAME" or "#value=NAME" as the id of an element; null for anything else.
  fromHash() {
    const hash = this.hashText(), named = /^(?:node|value)=([^]*)$/.exec(hash);
    if (!named) return this.model.parse(hash) ? hash : null;
    const places = this.model.named(named[1]);
    return places.length ? this.model.idOf(places[0]) : null;
  }

  hashText() {
    const hash = location.hash.slice(1);
    try { return decodeURIComponent(hash); } catch { return hash; }
  }

  // ---- colours ----

  paintHighlights() {
    this.painted = new Map();
    this.model.highlights.forEach((highlight, at) => {
      for (const place of highlight.places) this.painted.set(place.join(":"), COLOURS[at % COLOURS.length]);
    });
  }

  // ---- search and path ----

  search() {
    const text = byId("search").value;
    if (text.trim()) this.panel.results(text, this.model.search(text, 200)); else this.panel.overview();
  }

  fillPath(end, place) {
    const at = this.model.inMain(place), made = at && this.model.node(at).y.find((value) => value >= 0);
    byId(end).value = made === undefined ? this.model.name(place) : this.model.valueName(made);
    byId("ways").open = true;
    if (byId("from").value && byId("to").value) this.findPath();
  }

  async findPath() {
    const ends = ["from", "to"].map((end) => {
      const name = byId(end).value, place = this.model.named(name).map((found) => this.model.inMain(found)).find(Boolean);
      if (!place) say(`there is no value or node ${name.slice(0, 80)}`);
      return place?.[1];
    });
    if (ends.includes(undefined)) return;
    const found = this.model.between(...ends);
    this.panel.path(byId("from").value, byId("to").value, found);
    this.paintHighlights();
    if (!found) { this.canvas.paint(); return; }
    for (const box of found.all) this.painted.set(`0:${box}`, "#f59e0b");
    for (const box of found.steps) this.painted.set(`0:${box}`, "#dc2626");
    if (found.steps.length <= MOST_REVEALED) for (const box of found.steps) this.openAround(`n${box}`);
    if (await this.show()) this.canvas.fit();
  }

  // ---- keys and buttons ----

  listen() {
    byId("search").addEventListener("input", () => this.search());
    byId("search").addEventListener("keydown", (event) => { if (event.key === "Enter") byId("results")?.querySelector("button")?.click(); });
    byId("find").addEventListener("click", () => this.findPath());
    for (const end of ["from", "to"]) byId(end).addEventListener("keydown", (event) => { if (event.key === "Enter") this.findPath(); });
    const actions = { fit: () => this.canvas.fit(), larger: () => this.canvas.zoom(1.3), smaller: () => this.canvas.zoom(1 / 1.3), level: () => this.openLevel(), closed: () => this.closeAll(), home: () => this.select(null), keys: () => this.panel.keys(), theme: changeTheme };
    for (const [id, action] of Object.entries(actions)) byId(id).addEventListener("click", action);
    window.addEventListener("hashchange", () => this.onHash());
    document.addEventListener("keydown", (event) => this.onKey(event, actions));
    window.addEventListener("beforeprint", () => this.forPrint());
    window.addEventListener("afterprint", () => { byId("drawing").removeAttribute("viewBox"); this.canvas.place(); });
  }

  onHash() {
    if (location.hash === this.ownHash) return;
    const target = this.fromHash();
    if (target) this.reveal(target);
    else if (!location.hash) this.select(null, { link: false });
    else say(`there is no ${this.hashText().slice(0, 80)} in this model`);
  }

  onKey(event, actions) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape") { event.target.blur?.(); this.select(null); return; }
    if (event.target.closest("input, button, select")) return;
    const keys = { f: actions.fit, "+": actions.larger, "=": actions.larger, "-": actions.smaller, e: actions.level, c: actions.closed, "?": actions.keys, "/": () => byId("search").focus() };
    const moves = { ArrowUp: () => this.along("target", "source"), ArrowDown: () => this.along("source", "target"), ArrowLeft: () => this.aside(-1), ArrowRight: () => this.aside(1) };
    const focused = event.target.closest(".box")?.dataset.id;
    if (event.key === "Enter") { const id = focused ?? this.selected; if (id === this.selected) this.toggle(id); else this.select(id); return; }
    const action = keys[event.key] ?? moves[event.key];
    if (action) { event.preventDefault(); action(); }
  }

  // Select what an edge of the selected element leads to; without one, the topmost box.
  along(here, there) {
    const { scene, places } = this.canvas;
    if (!this.selected) { this.select([...places.values()].reduce((a, b) => (b.y < a.y ? b : a)).id, { move: true }); return; }
    const edge = [...scene.edges.values()].find((known) => known[here] === this.selected);
    if (edge) this.select(edge[there], { move: true });
  }

  // Select the nearest box to the left or right.
  aside(side) {
    const { places, scene } = this.canvas, at = places.get(this.selected);
    if (!at) return;
    const others = [...places.values()].filter((place) => place !== at && !scene.elements.get(place.id).children && (place.x - at.x) * side > 0);
    const far = (place) => Math.abs(place.x - at.x) + 4 * Math.abs(place.y - at.y);
    if (others.length) this.select(others.reduce((a, b) => (far(b) < far(a) ? b : a)).id, { move: true });
  }

  forPrint() {
    const { width, height } = this.canvas.size;
    byId("drawing").setAttribute("viewBox", `0 0 ${Math.ceil(width)} ${Math.ceil(height)}`);
    this.canvas.layer.removeAttribute("transform");
  }
}

function byId(id) { return document.getElementById(id); }
function say(text) { byId("status").textContent = text; }

function changeTheme() {
  const root = document.documentElement, dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const now = root.dataset.theme ?? (dark ? "dark" : "light");
  root.dataset.theme = now === "dark" ? "light" : "dark";
}

// The text of a script element that holds deflated bytes as base64.
async function unpacked(id) {
  const packed = Uint8Array.from(atob(byId(id).textContent.trim()), (letter) => letter.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(stream).text();
}

async function openPage() {
  const held = byId("model");
  const text = held.type === "application/json" ? held.textContent : await unpacked("model");
  const app = new App(new ModelData(JSON.parse(text)), new Layouter(await unpacked("elk")));
  window.graphkitView = app;
  await app.start();
}

openPage().catch((error) => say(`the page could not be drawn: ${error?.message ?? error}`));
