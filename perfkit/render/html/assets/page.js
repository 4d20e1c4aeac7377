/* The page: unpacks its data, makes tables sortable, draws, and draws again where the theme changes. */

async function unpacked(id) {
  const packed = Uint8Array.from(atob(document.getElementById(id).textContent.trim()), (letter) => letter.charCodeAt(0));
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

const pause = () => new Promise((resume) => setTimeout(resume, 0));

class ReportPage {
  constructor() {
    this.tables = [];
    this.timelines = [];
    this.trees = new Map();
    this.drawing = Promise.resolve();
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
    document.addEventListener("perfkit-name", (event) => this.find(event.detail));
    await pause();
    if (this.figures.some((figure) => figure.kind !== "timeline")) {
      const library = document.createElement("script");
      library.textContent = await unpacked("library");
      document.head.append(library);
      Bokeh.set_log_level("error");
    }
    await this.draw();
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

  draw() {
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
    up.textContent = figure.at ? `Up from ${short(figure.labels[figure.at], 50)}` : "A click on a module enlarges it";
    up.disabled = !figure.at;
    up.addEventListener("click", () => {
      figure.at = Math.max(figure.parents[figure.at], 0);
      again();
    });
    tools.append(up);
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

  /** The row of a name in the first table that has it. */
  find(name) {
    const first = this.tables.filter((table) => table.root.dataset.name === "kernels");
    [...first, ...this.tables].some((table) => table.find(name));
  }
}

if (typeof document !== "undefined") new ReportPage().start();
