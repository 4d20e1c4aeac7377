/* The page: unpacks its data, makes tables sortable, draws, and draws again where the theme changes. */

async function unpacked(id) {
  const text = document.getElementById(id).textContent.trim();
  const byLetter = () => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)); // a hundred times slower
  const packed = Uint8Array.fromBase64 ? Uint8Array.fromBase64(text) : byLetter();
  return new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"))).text();
}

/** The canvases in an element, those of shadow roots too. */
function canvasesIn(root) {
  return [...root.querySelectorAll("*")].flatMap((one) => [
    ...(one.tagName === "CANVAS" && one.width && one.height ? [one] : []),
    ...(one.shadowRoot ? canvasesIn(one.shadowRoot) : []),
  ]);
}

/** Pictures of what is drawn, for paper: they shrink with its width, and canvases do not. */
function pictured(root) {
  root.querySelectorAll("img.paper").forEach((old) => old.remove());
  for (const box of root.querySelectorAll(".plot, .canvas")) {
    const layers = canvasesIn(box);
    if (!layers.length) continue;
    const all = document.createElement("canvas");
    [all.width, all.height] = [layers[0].width, layers[0].height];
    layers.filter((layer) => layer.width === all.width).forEach((layer) => all.getContext("2d").drawImage(layer, 0, 0));
    const picture = new Image();
    picture.className = "paper";
    picture.alt = root.dataset.label;
    picture.src = all.toDataURL();
    box.after(picture);
  }
}

/** In a frame without an address of its own, as in a notebook, a link to a section would lead to the page round it. */
function jump(event) {
  const link = event.target.closest('a[href^="#"]');
  if (!link) return;
  event.preventDefault();
  document.getElementById(link.getAttribute("href").slice(1)).scrollIntoView();
}

const pause = () => new Promise((resume) => setTimeout(resume, 0));

class ReportPage {
  constructor() {
    this.tables = [];
    this.timelines = [];
    this.trees = new Map();
    this.drawing = Promise.resolve();
    this.isLoaded = false;
  }

  color(name) {
    return this.style.getPropertyValue(name).trim();
  }

  async start() {
    const data = JSON.parse(await unpacked("data"));
    const byId = new Map(data.tables.map((table) => [table.id, table]));
    this.tables = [...document.querySelectorAll("div.table")].map((root) => new SortedTable(root, byId.get(root.id)));
    this.figures = data.figures.map((figure, at) => ({ ...figure, root: document.getElementById(`figure-${at}`) }));
    this.theme();
    addEventListener("beforeprint", () => this.figures.forEach((figure) => pictured(figure.root)));
    document.addEventListener("perfkit-name", (event) => this.find(event.detail.name, event.detail.from));
    let isRead = false; // whoever scrolls before all is drawn is left alone
    ["wheel", "keydown", "pointerdown"].forEach((what) => addEventListener(what, () => (isRead = true), { once: true }));
    if (location.protocol === "about:") document.addEventListener("click", jump);
    await pause();
    if (this.figures.some((figure) => figure.kind !== "timeline")) {
      const library = document.createElement("script");
      library.textContent = await unpacked("library");
      document.head.append(library);
      Bokeh.set_log_level("error");
    }
    this.isLoaded = true;
    await this.draw();
    const wanted = location.hash && document.getElementById(location.hash.slice(1));
    if (wanted && !isRead) wanted.scrollIntoView(); // charts have moved it since the browser went there
    document.documentElement.dataset.ready = "yes";
  }

  /** Light, dark, or as the system has it; kept for the next time where the browser keeps it. */
  theme() {
    const button = document.getElementById("theme");
    const names = { auto: "as the system", light: "light", dark: "dark" };
    const set = (theme) => {
      document.documentElement.dataset.theme = theme;
      button.textContent = `Theme: ${names[theme]}`;
    };
    try {
      set(names[localStorage.getItem("perfkit-theme")] ? localStorage.getItem("perfkit-theme") : "auto");
    } catch {
      set("auto");
    }
    button.addEventListener("click", () => {
      const next = { auto: "light", light: "dark", dark: "auto" }[document.documentElement.dataset.theme];
      set(next);
      try {
        localStorage.setItem("perfkit-theme", next);
      } catch {
        /* a page without storage forgets it */
      }
      this.draw();
    });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  /** All of it once more; nothing before what draws is there: `start` does it then, in the theme of that time. */
  draw() {
    if (!this.isLoaded) return;
    this.drawing = this.drawing.then(() => this.drawAll());
    return this.drawing;
  }

  async drawAll() {
    this.style = getComputedStyle(document.documentElement);
    document.documentElement.dataset.drawn = this.color("--scheme");
    for (const figure of this.figures) {
      if (figure.kind === "timeline") {
        if (figure.view) figure.view.draw();
        else figure.view = new TimelineView(figure.root, figure, (name) => this.color(name));
      } else {
        await this.chart(figure);
      }
      figure.root.dataset.drawn = "yes";
      await pause();
    }
  }

  async chart(figure) {
    const charts = new Charts((name) => this.color(name));
    const place = figure.root.querySelector(".drawing");
    charts.width = place.clientWidth;
    if (figure.kind === "tree") return this.icicle(figure, charts, place);
    const made =
      figure.kind === "chart" ? figure.rows.flat().map((panel) => charts.panel(panel)) : [charts[figure.kind](figure)];
    return this.put(place, made, figure.root.dataset.label, charts.legends);
  }

  async put(place, made, label, legends = new Map()) {
    const boxes = made.map(() => document.createElement("div"));
    boxes.forEach((box) => {
      box.className = "plot";
      box.setAttribute("role", "img");
      box.setAttribute("aria-label", label);
    });
    (place.views || []).forEach((view) => view.remove()); // and the tips that they left beside the pointer
    place.replaceChildren(...made.flatMap((figure, at) => {
      const entries = legends.get(figure) || [];
      return entries.length ? [legendOf(entries), boxes[at]] : [boxes[at]];
    }));
    const views = [];
    for (const [at, figure] of made.entries()) views.push(await Bokeh.Plotting.show(figure, boxes[at]));
    place.views = views;
  }

  async icicle(figure, charts, place) {
    figure.at ||= 0;
    figure.shown ||= "all";
    const groups = [["all", "all phases", figure.phases]];
    const known = (names) => names.filter((name) => figure.phases.includes(name));
    if (known(["forward"]).length) groups.push(["forward", "forward", ["forward"]]);
    if (known(["backward", "recompute"]).length) groups.push(["backward", "backward", known(["backward", "recompute"])]);
    if (groups.length > 2) groups.push(["both", "both", known(["forward", "backward", "recompute"])]);
    const tools = document.createElement("div");
    tools.className = "tools";
    tools.setAttribute("role", "group");
    tools.setAttribute("aria-label", "Phases");
    const again = () => this.icicle(figure, charts, place);
    groups.forEach(([name, text]) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = text;
      button.setAttribute("aria-pressed", String(figure.shown === name));
      button.addEventListener("click", () => {
        figure.shown = name;
        again().then(() => place.querySelector('[aria-pressed="true"]').focus());
      });
      tools.append(button);
    });
    const up = document.createElement("button");
    up.type = "button";
    up.textContent = `Up from ${short(figure.labels[figure.at], 50)}`;
    up.hidden = !figure.at;
    up.addEventListener("click", () => {
      figure.at = Math.max(figure.parents[figure.at], 0);
      again();
    });
    tools.append(up, this.into(figure, again));
    const [, , names] = groups.find(([name]) => name === figure.shown);
    const phases = names.map((name) => figure.phases.indexOf(name));
    const made = charts.tree(figure, phases, figure.at, (node) => {
      figure.at = node === figure.at ? Math.max(figure.parents[node], 0) : node;
      setTimeout(again, 0);
    });
    figure.box ||= document.createElement("div");
    place.replaceChildren(tools, figure.box);
    await this.put(figure.box, [made], figure.root.dataset.label);
  }

  /** What a click does, for those without a pointer: a list of the modules in the one that is shown. */
  into(figure, again) {
    const total = figure.own.map((times) => times.reduce((sum, time) => sum + time, 0));
    for (let row = total.length - 1; row > 0; row--) total[figure.parents[row]] += total[row];
    const inner = [...figure.labels.keys()].filter((row) => row && figure.parents[row] === figure.at);
    const list = document.createElement("select");
    list.className = "into";
    list.setAttribute("aria-label", "Enlarge a module");
    list.append(new Option("Enlarge a module", ""));
    inner.sort((a, b) => total[b] - total[a]).slice(0, 100).forEach((row) => list.append(new Option(short(figure.labels[row], 60, true), row)));
    list.hidden = !inner.length;
    list.addEventListener("change", () => {
      figure.at = Number(list.value);
      again().then(() => (figure.root.querySelector(".into:not([hidden])") || figure.root.querySelector("button:enabled")).focus());
    });
    return list;
  }

  /** The row of a name in the first table that has it: of the part that it is asked from, kernels first. */
  find(name, from) {
    const rank = (table) => 2 * (partOf(table.root) !== partOf(from)) + (table.root.dataset.name !== "kernels");
    [...this.tables].sort((a, b) => rank(a) - rank(b)).some((table) => table.find(name));
  }
}

/** How many parts of the page begin before an element. */
function partOf(element) {
  const begins = (answer) => answer.compareDocumentPosition(element) & Node.DOCUMENT_POSITION_FOLLOWING;
  return [...document.querySelectorAll("section.answer")].filter(begins).length;
}

if (typeof document !== "undefined") new ReportPage().start();
