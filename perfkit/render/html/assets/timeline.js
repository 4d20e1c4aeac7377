/* The timeline: lanes of items on a canvas. Drag or arrow keys move it, the wheel with ctrl or + and - zoom. */

const LINE = 15;
const BAND = 17;
const GAP = 9;
const TITLE_LINE = 14;
const AXIS = 20;

/** `1.234 ms`, of nanoseconds. */
function duration(ns) {
  const [size, unit] = ns >= 1e9 ? [1e9, "s"] : ns >= 1e6 ? [1e6, "ms"] : ns >= 1e3 ? [1e3, "us"] : [1, "ns"];
  return `${(ns / size).toPrecision(4)} ${unit}`;
}

/** The colour of a phase, a cause or a side, as colours.py has it. */
function keyColor(color, key) {
  return color(`--key-${key.replace(/\W+/g, "-")}`) || color("--key-other");
}

class TimelineView {
  constructor(root, data, colors) {
    this.root = root;
    this.data = data;
    this.colors = colors;
    this.lanes = data.lanes.map((lane) => {
      let at = 0;
      const start = lane.start.map((step) => (at += step));
      const lines = lane.depth.reduce((most, depth) => Math.max(most, depth), 0) + 1;
      return { ...lane, start, lines, longest: lane.length.reduce((most, length) => Math.max(most, length), 0) };
    });
    [this.from, this.to] = [0, data.span];
    this.found = null;
    this.build();
    this.resize();
    new ResizeObserver(() => this.resize()).observe(this.frame);
  }

  build() {
    const make = (tag, attributes, text = "") => {
      const element = document.createElement(tag);
      Object.entries(attributes).forEach(([name, value]) => element.setAttribute(name, value));
      element.textContent = text;
      return element;
    };
    const tools = make("div", { class: "tools" });
    const act = (text, label, run) => {
      const button = make("button", { type: "button", "aria-label": label, title: label }, text);
      button.addEventListener("click", run);
      tools.append(button);
    };
    act("+", "Zoom in", () => this.zoom(0.5));
    act("\u2212", "Zoom out", () => this.zoom(2));
    act("\u2190", "Move left", () => this.move(-0.25));
    act("\u2192", "Move right", () => this.move(0.25));
    act("Whole", "Show all of it", () => this.show(0, this.data.span));
    const label = make("label", {}, "Search ");
    this.search = make("input", { type: "search", placeholder: "part of a name", spellcheck: "false" });
    label.append(this.search);
    tools.append(label);
    this.hits = make("span", { class: "count", role: "status" });
    tools.append(this.hits);
    this.search.addEventListener("input", () => this.look(this.search.value));
    this.search.addEventListener("keydown", (event) => event.key === "Enter" && this.next(event.shiftKey ? -1 : 1));
    this.frame = make("div", { class: "canvas" });
    this.canvas = make("canvas", { tabindex: "0", role: "application", "aria-label": this.root.dataset.label });
    this.tip = make("div", { class: "tip", role: "status" });
    this.frame.append(this.canvas);
    const legends = [make("p", { class: "legend" }), make("p", { class: "legend" })]; // of phases, of causes
    this.data.keys.forEach((key, number) => {
      const lane = this.lanes.find((one) => one.key.includes(number));
      if (!lane) return;
      const entry = make("span", {}, lane.kind === "gaps" ? `idle: ${key}` : key);
      entry.prepend(make("i", { "data-key": key }));
      legends[Number(lane.kind === "gaps")].append(entry);
    });
    const help = "Drag or the arrow keys move it; + and -, or ctrl with the wheel, zoom; a click shows what it is and its row.";
    this.root.querySelector(".drawing").replaceChildren(tools, this.frame, this.tip, ...legends, make("p", { class: "help" }, help));
    this.listen();
  }

  listen() {
    const canvas = this.canvas;
    canvas.addEventListener("keydown", (event) => {
      const act = {
        ArrowLeft: () => this.move(-0.15), ArrowRight: () => this.move(0.15), "+": () => this.zoom(0.6), "=": () => this.zoom(0.6),
        "-": () => this.zoom(1 / 0.6), Home: () => this.show(0, this.data.span), "0": () => this.show(0, this.data.span),
      }[event.key];
      if (!act || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      act();
    });
    canvas.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && !event.shiftKey) return;
      event.preventDefault();
      this.zoom(event.deltaY > 0 ? 1.25 : 0.8, this.time(event.offsetX));
    }, { passive: false });
    let held = null;
    canvas.addEventListener("pointerdown", (event) => {
      held = { x: event.clientX, from: this.from, moved: false };
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!held) return this.point(event.offsetX, event.offsetY);
      const by = ((held.x - event.clientX) / this.width) * (this.to - this.from);
      held.moved ||= Math.abs(held.x - event.clientX) > 3;
      if (held.moved) this.show(held.from + by, held.from + by + (this.to - this.from));
    });
    canvas.addEventListener("pointerup", (event) => {
      const moved = held && held.moved;
      held = null;
      if (!moved) this.choose(event.offsetX, event.offsetY);
    });
  }

  time(x) {
    return this.from + (x / this.width) * (this.to - this.from);
  }

  zoom(factor, around = (this.from + this.to) / 2) {
    const span = Math.max(Math.min((this.to - this.from) * factor, this.data.span), Math.min(100, this.data.span));
    const share = (around - this.from) / (this.to - this.from);
    this.show(around - share * span, around + (1 - share) * span);
  }

  move(share) {
    const by = (this.to - this.from) * share;
    this.show(this.from + by, this.to + by);
  }

  show(from, to) {
    const span = Math.min(to - from, this.data.span);
    this.from = Math.max(0, Math.min(from, this.data.span - span));
    this.to = this.from + span;
    this.root.dataset.from = Math.round(this.from);
    this.root.dataset.to = Math.round(this.to);
    this.draw();
  }

  resize() {
    const width = Math.max(300, this.frame.clientWidth);
    const height = this.lanes.reduce((sum, lane) => sum + TITLE_LINE + this.height(lane) + GAP, AXIS);
    const ratio = window.devicePixelRatio || 1;
    if (width === this.width && ratio === this.ratio) return;
    [this.width, this.ratio] = [width, ratio];
    [this.canvas.width, this.canvas.height] = [width * ratio, height * ratio];
    this.canvas.style.height = `${height}px`;
    this.show(this.from, this.to);
  }

  height(lane) {
    return lane.kind === "host" || lane.kind === "device" ? lane.lines * LINE : BAND;
  }

  draw() {
    const c = this.canvas.getContext("2d");
    const style = this.colors;
    c.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    c.clearRect(0, 0, this.width, this.canvas.height);
    c.font = "11px system-ui, sans-serif";
    c.textBaseline = "middle";
    c.direction = "ltr";
    const palette = this.data.keys.map((key) => keyColor(style, key));
    const inks = palette.map((color) => readable(color, 1, color));
    this.axis(c, style);
    this.places = [];
    let top = AXIS;
    for (const lane of this.lanes) {
      c.fillStyle = style("--muted");
      c.fillText(lane.title.slice(0, 120), 2, top + TITLE_LINE / 2);
      top += TITLE_LINE;
      this.places.push(top);
      this.items(c, lane, top, palette, inks, style);
      top += this.height(lane) + GAP;
    }
    this.root.querySelectorAll("i[data-key]").forEach((swatch) => {
      swatch.style.background = keyColor(style, swatch.dataset.key);
    });
  }

  axis(c, style) {
    const span = this.to - this.from;
    const step = [1, 2, 5, 10].map((by) => by * 10 ** Math.floor(Math.log10(span / 8))).find((by) => span / by <= 10);
    c.strokeStyle = style("--grid");
    c.fillStyle = style("--muted");
    for (let at = Math.ceil(this.from / step) * step; at <= this.to; at += step) {
      const x = ((at - this.from) / span) * this.width;
      c.beginPath();
      c.moveTo(x, AXIS - 5);
      c.lineTo(x, this.canvas.height);
      c.stroke();
      c.fillText(at ? duration(at).replace(/\.?0+ /, " ") : "0", Math.min(x + 2, this.width - 50), 7);
    }
  }

  /** Items narrower than a pixel share one, as long as they are of one colour. */
  items(c, lane, top, palette, inks, style) {
    const scale = this.width / (this.to - this.from);
    const tall = lane.kind === "host" || lane.kind === "device";
    const last = new Map();
    for (let row = 0; row < lane.start.length; row++) {
      const start = lane.start[row];
      if (start > this.to) break;
      if (start + lane.length[row] < this.from) continue;
      const x = Math.max(0, (start - this.from) * scale);
      const end = Math.min(this.width, (start + lane.length[row] - this.from) * scale);
      const width = Math.max(end - x, 0.75);
      const depth = tall ? lane.depth[row] : 0;
      if (width < 1 && last.get(depth) > x) continue;
      last.set(depth, x + width);
      const y = top + depth * LINE;
      const height = (tall ? LINE : BAND) - 1;
      const isFound = this.found && this.found.has(lane.name[row]);
      c.globalAlpha = this.found && !isFound ? 0.25 : 1;
      c.fillStyle = palette[lane.key[row]];
      c.fillRect(x, y, width > 2 ? width - 0.5 : width, height);
      if (isFound) {
        c.strokeStyle = style("--text");
        c.strokeRect(x + 0.5, y + 0.5, Math.max(width - 1, 1), height - 1);
      }
      if (width > 30) {
        c.fillStyle = inks[lane.key[row]];
        c.fillText(fitted(c, this.label(lane.name[row]), width - 6), x + 3, y + height / 2 + 0.5);
      }
    }
    c.globalAlpha = 1;
  }

  /** The lane and the row of the item at a place; null for none. */
  at(x, y) {
    const time = this.time(x);
    const slack = (this.to - this.from) / this.width;
    for (let number = 0; number < this.lanes.length; number++) {
      const lane = this.lanes[number];
      const depth = Math.floor((y - this.places[number]) / (this.height(lane) / lane.lines));
      if (y < this.places[number] || depth >= lane.lines) continue;
      for (let row = lane.start.length - 1; row >= 0; row--) {
        const holds = lane.start[row] - slack <= time && time <= lane.start[row] + lane.length[row] + slack;
        if (holds && lane.depth[row] === depth) return { lane, row };
        if (lane.start[row] + lane.longest < time - slack) break;
      }
    }
    return null;
  }

  /** What people read of a name: of kernels the short one. */
  label(at) {
    return this.data.labels[at] || this.data.names[at];
  }

  tell({ lane, row }) {
    const at = lane.name[row];
    const whole = this.data.labels[at] ? ` (${this.data.names[at].slice(0, 160)})` : "";
    const key = this.data.keys[lane.key[row]];
    const of = lane.kind === "gaps" ? "" : `, ${key}`;
    return `${this.label(at)}: ${duration(lane.length[row])}${of}, at ${duration(lane.start[row])}, ${lane.title}${whole}`;
  }

  point(x, y) {
    const item = this.at(x, y);
    this.tip.textContent = item ? this.tell(item) : "";
  }

  choose(x, y) {
    const item = this.at(x, y);
    this.tip.textContent = item ? this.tell(item) : "";
    if (item) document.dispatchEvent(new CustomEvent("perfkit-name", { detail: { name: this.data.names[item.lane.name[item.row]], from: this.root } }));
  }

  look(text) {
    const wanted = text.trim().toLowerCase();
    this.found = wanted
      ? new Set(this.data.names.flatMap((name, at) => (`${name}\n${this.label(at)}`.toLowerCase().includes(wanted) ? [at] : [])))
      : null;
    this.list = wanted
      ? this.lanes.flatMap((lane) => lane.name.flatMap((name, row) => (this.found.has(name) ? [{ lane, row }] : [])))
      : [];
    this.place = -1;
    this.hits.textContent = wanted ? `${this.list.length.toLocaleString("en")} found; Enter goes to the next` : "";
    this.draw();
  }

  next(step) {
    if (!this.list || !this.list.length) return;
    const from = this.place < 0 && step < 0 ? 0 : this.place; // the first way back leads to the last
    this.place = (from + step + this.list.length) % this.list.length;
    const item = this.list[this.place];
    const [start, length] = [item.lane.start[item.row], item.lane.length[item.row]];
    const span = Math.min(Math.max(length * 8, 1000), this.data.span);
    this.show(start + length / 2 - span / 2, start + length / 2 + span / 2);
    this.tip.textContent = this.tell(item);
    this.hits.textContent = `${this.place + 1} of ${this.list.length}`;
  }
}

/** The text, or what of it fits. */
function fitted(c, text, width) {
  const letters = Math.floor(width / 6.3);
  return text.length <= letters ? text : letters > 2 ? `${text.slice(0, letters - 1)}\u2026` : "";
}
