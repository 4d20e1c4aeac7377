/* Charts, drawn by Bokeh from the page's data. Colours are the page's own, so that both themes share them. */

const PALETTE = ["--c0", "--c1", "--c2", "--c3", "--c4", "--c5", "--c6", "--c7"];
const DASHES = ["solid", "dashed", "dotted", "dotdash"];
const UNITS = {
  s: [[1, "s"], [1e-3, "ms"], [1e-6, "us"], [1e-9, "ns"]],
  B: [[2 ** 40, "TiB"], [2 ** 30, "GiB"], [2 ** 20, "MiB"], [2 ** 10, "KiB"], [1, "B"]],
  "/s": [[1e15, "P"], [1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"], [1, ""]],
  "": [[1, ""]],
};

/** The largest unit that is no larger than the value: [size, name]. */
function unitOf(quantity, value) {
  return UNITS[quantity].find(([size]) => value >= size) || UNITS[quantity].at(-1);
}

/** Four significant digits, in thousands as in tables: `1,234`. */
function trimmed(number) {
  return number.toLocaleString("en", { maximumSignificantDigits: 4 });
}

/** A value with its unit: `71 ms`. */
function quantity(kind, value) {
  const [size, unit] = unitOf(kind, Math.abs(value));
  return `${trimmed(value / size)} ${unit}`.trim();
}

/** Round places from low to high: powers of ten where the axis is logarithmic, of two for bytes. */
function ticksOf(low, high, log, kind, most = 6) {
  if (log) {
    const marks = [];
    const base = kind === "B" ? 2 : 10;
    const [first, last] = [Math.floor(Math.log(low) / Math.log(base)), Math.ceil(Math.log(high) / Math.log(base))];
    const step = Math.max(1, Math.ceil((last - first) / most));
    for (let power = first; power <= last; power += step) {
      for (const by of step === 1 && last - first < 3 && base === 10 ? [1, 2, 5] : [1]) marks.push(by * base ** power);
    }
    return marks.filter((mark) => mark >= low * 0.999 && mark <= high * 1.001);
  }
  const size = kind === "B" ? unitOf("B", high)[0] : 1;
  const rough = (high - low) / size / most;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((by) => by * power).find((by) => by >= rough * 0.999) * size;
  const marks = [];
  for (let at = Math.ceil(low / step) * step; at <= high * (1 + 1e-9); at += step) marks.push(Math.abs(at) < step / 1e6 ? 0 : at);
  return marks;
}

class Charts {
  constructor(color) {
    this.color = color;
    this.legends = new Map();
  }

  figure(height, options) {
    const text = this.color("--text");
    const f = Bokeh.Plotting.figure({
      height, sizing_mode: "stretch_width", toolbar_location: null, tools: [], outline_line_color: null,
      background_fill_color: null, border_fill_color: null, min_border_right: 20,
      ...options,
    });
    for (const axis of f.axes) {
      Object.assign(axis, {
        axis_label_text_color: text, major_label_text_color: text, axis_line_color: this.color("--line"),
        major_tick_line_color: this.color("--line"), minor_tick_line_color: null, axis_label_text_font_style: "normal",
        axis_label_text_font: FONT, major_label_text_font: FONT, axis_label_text_font_size: "12px",
        major_label_text_font_size: "12px",
      });
    }
    for (const grid of f.grids) grid.grid_line_color = this.color("--grid");
    return f;
  }

  /** A tip of [what, field] rows; as one text each, because the library has a pale colour for labels. */
  tip(f, renderers, rows) {
    const tooltips = rows.map(([what, field]) => ["", what ? `${what}: ${field}` : field]);
    const hover = new Bokeh.HoverTool({ tooltips, renderers, point_policy: "follow_mouse" });
    f.add_tools(hover);
  }

  /** What the colours of a figure mean, where there are several: [label, look, colour, dash], written as HTML. */
  legend(f, entries) {
    const labels = new Map(entries.map((entry) => [entry[0], entry]));
    this.legends.set(f, labels.size > 1 ? [...labels.values()] : []);
  }

  axis(f, which, marks, texts) {
    const [axis, grid] = [f[`${which}axes`][0], f[`${which}grids`][0]];
    axis.ticker = grid.ticker = new Bokeh.FixedTicker({ ticks: marks });
    axis.major_label_overrides = new Map(marks.map((mark, at) => [mark, texts[at]]));
  }

  /** A panel of series, as schema.chart has it. */
  panel(panel) {
    const every = (name) => panel.series.flatMap((one) => one[name].filter((value) => value !== null));
    const xs = [...every("x"), ...panel.shaded.flatMap(([a, b]) => [a, b]), ...panel.missing.map((one) => one.x)];
    const stacked = panel.series.filter((one) => one.look === "stack");
    const tops = stacked.length ? stacked[0].y.map((_, at) => stacked.reduce((sum, one) => sum + one.y[at], 0)) : [];
    const ys = [...every("y"), ...every("low"), ...every("high"), ...tops];
    const [xLow, xHigh] = extent(xs, panel.x_log, stacked.length ? 0 : 0.04);
    let [yLow, yHigh] = extent(ys, panel.y_log, 0.06);
    if (!panel.y_log) [yLow, yHigh] = [Math.min(0, yLow), Math.max(0, ...ys) * (panel.strip.length ? 1.15 : 1.07) || 1];
    if (stacked.length) yLow = 0;
    const f = this.figure(300, {
      x_range: [xLow, xHigh], y_range: [yLow, yHigh], x_axis_type: panel.x_log ? "log" : "linear",
      y_axis_type: panel.y_log ? "log" : "linear",
    });
    if (panel.title) Object.assign((f.title = new Bokeh.Title({ text: panel.title })), { text_color: this.color("--text"), text_font: FONT, text_font_size: "12px" });
    const yTicks = ticksOf(yLow, yHigh, panel.y_log, panel.y_quantity);
    this.axis(f, "y", yTicks, yTicks.map((mark) => (mark ? quantity(panel.y_quantity, mark) : "0")));
    const xTicks = panel.x_ticks.length ? panel.x_ticks : wholeTicks(xLow, xHigh, panel).map((mark) => [mark, mark ? quantity(panel.x_quantity, mark) : "0"]);
    this.axis(f, "x", xTicks.map(([mark]) => mark), xTicks.map(([, text]) => text));
    f.xaxes[0].axis_label = panel.x_title + (panel.x_log ? ", log scale" : "");
    f.yaxes[0].axis_label = panel.y_title + (panel.y_log ? ", log scale" : "");
    for (const [left, right] of panel.shaded) {
      f.add_layout(new Bokeh.BoxAnnotation({ left, right, fill_color: this.color("--muted"), fill_alpha: 0.15, line_color: null }));
    }
    for (const [left, right, text] of panel.shaded) {
      f.add_layout(new Bokeh.Label({ x: (left + right) / 2, y: yHigh, y_offset: -14, text, text_align: "center", text_color: this.color("--muted"), text_font: FONT, text_font_size: "11px" }));
    }
    this.stack(f, stacked, tops, panel);
    this.strip(f, panel.strip, [xLow, xHigh], [yLow, yHigh]);
    panel.series.filter((one) => one.look !== "stack").forEach((series) => this.series(f, series, panel));
    panel.missing.forEach((one) => {
      const y = panel.y_log ? yHigh * (yLow / yHigh) ** 0.05 : yHigh - (yHigh - yLow) * 0.05; // all of it within the plot
      f.scatter({ x: [one.x], y: [y], size: 11, marker: { value: "x" }, line_width: 3, line_color: this.palette(one.color) }); // "x" alone is the column x
    });
    const entries = [...panel.series, ...panel.missing.map((one) => ({ ...one, look: "missing" }))];
    this.legend(f, entries.filter((one) => one.label).map((one) => [one.label, one.look, this.palette(one.color), DASHES[(one.dash || 0) % DASHES.length]]));
    return f;
  }

  palette(number) {
    return this.color(PALETTE[number % PALETTE.length]);
  }

  /** Areas upon each other; a reader who points at a moment sees all of them. */
  stack(f, stacked, tops, panel) {
    if (!stacked.length) return;
    const { x } = stacked[0];
    let low = x.map(() => 0);
    for (const one of stacked) {
      const high = low.map((value, at) => value + one.y[at]);
      f.varea_step({ x, y1: low, y2: high, step_mode: "after", fill_color: this.palette(one.color), fill_alpha: 0.8 });
      low = high;
    }
    const data = { x, y: tops, total: tops.map((value) => quantity(panel.y_quantity, value)), at: x.map((value) => quantity(panel.x_quantity, value)) };
    stacked.forEach((one, number) => (data[`of${number}`] = one.y.map((value) => quantity(panel.y_quantity, value))));
    const source = new Bokeh.ColumnDataSource({ data });
    f.step({ x: { field: "x" }, y: { field: "y" }, source, mode: "after", line_color: this.color("--text"), line_width: 0.6 });
    const line = f.line({ x: { field: "x" }, y: { field: "y" }, source, line_alpha: 0 }); // steps have no tips
    const rows = [["at", "@at"], ["in all", "@total"], ...stacked.map((one, number) => [one.label, `@of${number}`]).reverse()];
    f.add_tools(new Bokeh.HoverTool({ tooltips: rows.map(([what, field]) => ["", `${what}: ${field}`]), renderers: [line], mode: "vline", line_policy: "prev", point_policy: "follow_mouse" }));
  }

  /** What was going on, in a strip above all: by colours, and by names where there is room. */
  strip(f, parts, [left, right], [, high]) {
    const room = Math.max(300, this.width || 900) - 90;
    for (const [begin, end, name] of parts) {
      f.add_layout(new Bokeh.BoxAnnotation({ left: begin, right: end, top: high, bottom: high * 0.935, fill_color: keyColor(this.color, name), fill_alpha: 0.6, line_color: null }));
      if ((end - begin) / (right - left) * room < name.length * 6.5) continue;
      f.add_layout(new Bokeh.Label({ x: (begin + end) / 2, y: high, y_offset: -14, text: name, text_align: "center", text_color: this.color("--text"), text_font: FONT, text_font_size: "10px" }));
    }
  }

  series(f, series, panel) {
    const color = this.palette(series.color);
    const tip = series.y.map((y, at) => `${series.texts[at] || series.label}`);
    const value = series.y.map((y) => quantity(panel.y_quantity, y || 0) + (panel.y_quantity === "/s" ? "FLOP/s" : ""));
    const share = series.share.map((one) => `${(one * 100).toPrecision(3)}%`);
    const source = new Bokeh.ColumnDataSource({ data: { x: series.x, y: series.y, tip, value, ...(share.length ? { share } : {}) } });
    const line = { line_color: color, line_dash: DASHES[series.dash % DASHES.length], line_width: 1.6, source };
    const fields = { x: { field: "x" }, y: { field: "y" } };
    if (series.low.length) {
      const rows = series.low.map((low, at) => [low, at]).filter(([low, at]) => low !== null && series.high[at] !== null).map(([, at]) => at);
      f.segment({ x0: rows.map((at) => series.x[at]), x1: rows.map((at) => series.x[at]), y0: rows.map((at) => series.low[at]), y1: rows.map((at) => series.high[at]), line_color: color, line_width: 1.4 });
    }
    if (series.look === "steps") return f.step({ ...fields, ...line, mode: "after" });
    if (series.look === "roof" || series.look === "line") f.line({ ...fields, ...line });
    if (series.look === "roof") return;
    const size = series.look === "bubbles" ? series.share.map((one) => 5 + 32 * Math.sqrt(one)) : series.look === "marks" ? 16 : 8;
    const marks = f.scatter({
      ...fields, source, size, marker: series.look === "marks" ? "dash" : "circle", line_color: color, line_width: series.look === "marks" ? 3 : 1.4,
      fill_color: series.look === "circles" ? null : color, fill_alpha: series.look === "bubbles" ? 0.55 : 1,
    });
    this.tip(f, [marks], [["", "@tip"], [panel.y_title, "@value"], ...(share.length ? [["share of time", "@share"]] : [])]);
  }

  /** Bars of times: stacked, or one below the other. */
  bars(figure) {
    const { labels, parts, stacked } = figure;
    const sums = labels.map((_, at) => parts.reduce((sum, part) => sum + (part.values[at] || 0), 0));
    const most = stacked ? Math.max(...sums) : Math.max(...parts.flatMap((part) => part.values.map((value) => value || 0)));
    const rows = [...labels.keys()];
    const line = stacked ? 32 : 38;
    const f = this.figure(46 + line * labels.length, { x_range: [0, most * 1.02 || 1], y_range: [labels.length - 0.5, -0.5] });
    const marks = ticksOf(0, most / 1e9 || 1, false, "s", 8).map((mark) => mark * 1e9);
    this.axis(f, "x", marks, marks.map((mark) => (mark ? quantity("s", mark / 1e9) : "0")));
    this.axis(f, "y", rows, labels.map((label) => short(label, 34)));
    f.ygrids[0].grid_line_color = null;
    const left = rows.map(() => 0);
    const thick = stacked ? 0.7 : 0.8 / parts.length;
    parts.forEach((part, number) => {
      const begin = [...left];
      const value = part.values.map((one) => one || 0);
      if (stacked) value.forEach((one, at) => (left[at] += one));
      const middle = rows.map((row) => (stacked ? row : row + (number - (parts.length - 1) / 2) * thick));
      const share = value.map((one, at) => (stacked && sums[at] ? `, ${((one / sums[at]) * 100).toFixed(1)}%` : ""));
      const data = {
        y: middle, left: begin, right: value.map((one, at) => begin[at] + one), name: rows.map((at) => `${labels[at]}: ${part.name}`),
        value: value.map((one, at) => quantity("s", one / 1e9) + share[at]),
      };
      const drawn = f.hbar({
        y: { field: "y" }, left: { field: "left" }, right: { field: "right" }, height: thick * 0.92, source: new Bokeh.ColumnDataSource({ data }),
        fill_color: keyColor(this.color, part.key), line_color: this.color("--surface"), line_width: 0.5,
      });
      this.tip(f, [drawn], [["", "@name"], ["time", "@value"]]);
    });
    this.legend(f, parts.map((part) => [part.name, "bar", keyColor(this.color, part.key), ""]));
    return f;
  }

  /** Rows by columns, darker where more time is; the figure in each cell. */
  heat(figure) {
    const { rows, columns, values } = figure;
    const most = Math.max(...values.flat(), 1);
    const cells = rows.flatMap((row, at) => columns.map((column, place) => ({ row: at, column: place, value: values[at][place], name: `${row}, ${column}` })));
    const there = cells.filter((cell) => cell.value > 0);
    const f = this.figure(60 + 20 * rows.length, { x_range: [-0.5, columns.length - 0.5], y_range: [rows.length - 0.5, -0.5], x_axis_location: "above" });
    const letters = this.width < 600 ? 16 : 34;
    const wide = ((this.width || 900) - 50 - 6.8 * Math.min(letters, Math.max(...rows.map((row) => row.length)))) / columns.length;
    this.axis(f, "x", [...columns.keys()], columns.map((column) => fittedName(column, wide)));
    this.axis(f, "y", [...rows.keys()], rows.map((row) => short(row, letters, true)));
    f.grids.forEach((grid) => (grid.grid_line_color = null));
    const data = {
      x: there.map((cell) => cell.column), y: there.map((cell) => cell.row), name: there.map((cell) => cell.name),
      value: there.map((cell) => quantity("s", cell.value / 1e9)), alpha: there.map((cell) => 0.06 + 0.9 * Math.sqrt(cell.value / most)),
      ink: there.map((cell) => readable(this.color("--c0"), 0.06 + 0.9 * Math.sqrt(cell.value / most), this.color("--surface"))),
    };
    data.text = data.value.map((text) => (text.length * 6.2 < wide ? text : "")); // the tip has it, and the table
    const source = new Bokeh.ColumnDataSource({ data });
    const drawn = f.rect({ x: { field: "x" }, y: { field: "y" }, width: 0.98, height: 0.92, source, fill_color: this.color("--c0"), fill_alpha: { field: "alpha" }, line_color: null });
    f.text({ x: { field: "x" }, y: { field: "y" }, text: { field: "text" }, source, text_align: "center", text_baseline: "middle", text_font: FONT, text_font_size: "11px", text_color: { field: "ink" } });
    this.tip(f, [drawn], [["", "@name"], ["time", "@value"]]);
    return f;
  }

  /** An icicle: modules in what contains them, as wide as their time. `at`: the node that takes the whole width. */
  tree(figure, phases, at, choose) {
    const nodes = icicle(figure, phases, at);
    const deep = Math.max(...nodes.map((node) => node.depth)) + 1;
    const f = this.figure(30 + 24 * deep, { x_range: [0, 1], y_range: [deep, 0] });
    f.axes.forEach((axis) => (axis.visible = false));
    f.grids.forEach((grid) => (grid.grid_line_color = null));
    const width = Math.max(300, this.width || 900);
    const data = {
      left: nodes.map((node) => node.left), right: nodes.map((node) => node.left + node.share), top: nodes.map((node) => node.depth),
      bottom: nodes.map((node) => node.depth + 1), name: nodes.map((node) => node.name), value: nodes.map((node) => `${quantity("s", node.total / 1e9)}, ${(node.share * 100).toPrecision(3)}%`),
      own: nodes.map((node) => quantity("s", node.own / 1e9)), color: nodes.map((node) => this.palette(node.branch)),
      alpha: nodes.map(faded), ink: nodes.map((node) => readable(this.palette(node.branch), faded(node), this.color("--surface"))), x: nodes.map((node) => node.left + 4 / width), y: nodes.map((node) => node.depth + 0.5),
      text: nodes.map((node) => fittedName(node.label, node.share * width - 8)), node: nodes.map((node) => node.row),
    };
    const source = new Bokeh.ColumnDataSource({ data });
    const drawn = f.quad({ left: { field: "left" }, right: { field: "right" }, top: { field: "top" }, bottom: { field: "bottom" }, source, fill_color: { field: "color" }, fill_alpha: { field: "alpha" }, line_color: this.color("--surface"), line_width: 1 });
    f.text({ x: { field: "x" }, y: { field: "y" }, text: { field: "text" }, source, text_baseline: "middle", text_font: FONT, text_font_size: "11px", text_color: { field: "ink" } });
    this.tip(f, [drawn], [["", "@name"], ["with children", "@value"], ["alone", "@own"]]);
    f.add_tools(new Bokeh.TapTool({ renderers: [drawn] }));
    source.selected.change.connect(() => {
      const [chosen] = source.selected.indices;
      if (chosen !== undefined) choose(data.node[chosen]);
    });
    drawn.nonselection_glyph = drawn.selection_glyph = null;
    return f;
  }
}

const FONT = "system-ui, sans-serif";

/** Deeper nodes are paler. */
function faded(node) {
  return Math.max(0.35, 0.9 - node.depth * 0.07);
}

/** Black or white: what is easier to read on a colour over a background (WCAG 2's relative luminance). */
function readable(color, alpha, background) {
  const parts = (text) => [1, 3, 5].map((at) => parseInt(text.slice(at, at + 2), 16) / 255);
  const under = parts(background);
  const mixed = parts(color).map((part, at) => part * alpha + under[at] * (1 - alpha));
  const linear = mixed.map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
  const luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  return luminance > 0.179 ? "#101418" : "#ffffff"; // where contrast with black and with white is the same
}

function extent(values, log, margin) {
  const known = log ? values.filter((value) => value > 0) : values;
  let [low, high] = known.reduce(([a, b], value) => [Math.min(a, value), Math.max(b, value)], [Infinity, -Infinity]);
  if (!Number.isFinite(low)) [low, high] = log ? [1, 10] : [0, 1];
  if (log) return [low / 2, high * 2];
  const by = (high - low || Math.abs(high) || 1) * margin;
  return [low - by, high + by];
}

/** Whole numbers where x counts something. */
function wholeTicks(low, high, panel) {
  const marks = ticksOf(low, high, panel.x_log, panel.x_quantity, 10);
  return panel.x_quantity ? marks : marks.filter((mark) => Number.isInteger(mark));
}

/** A label in so many letters: its end, where that tells more. */
function short(text, letters, end = false) {
  if (text.length <= letters) return text;
  return end ? `\u2026${text.slice(1 - letters)}` : `${text.slice(0, letters - 1)}\u2026`;
}

function fittedName(text, width) {
  const letters = Math.floor(width / 6.2);
  return letters < 2 ? "" : short(text, letters);
}

/** The nodes below `at` with some time in these phases: where they are, and how wide. */
function icicle(figure, phases, at) {
  const { labels, parents, own } = figure;
  const self = own.map((times) => phases.reduce((sum, phase) => sum + times[phase], 0));
  const total = [...self];
  for (let row = labels.length - 1; row > 0; row--) total[parents[row]] += total[row];
  const children = labels.map(() => []);
  for (let row = 1; row < labels.length; row++) children[parents[row]].push(row);
  const nodes = [];
  const place = (row, left, depth, branch, isOpen) => {
    const share = total[at] ? total[row] / total[at] : 0;
    if (share < 0.0004 && row !== at) return;
    const front = row && labels[parents[row]];
    const label = front && labels[row].startsWith(front) ? labels[row].slice(front.length).replace(/^[./ ]+/, "") : labels[row];
    nodes.push({ row, name: labels[row], label: label || labels[row], left, share, depth, total: total[row], own: self[row], branch });
    let begin = left;
    const numbered = children[row].every((child) => /\d$/.test(labels[child]));
    const order = (a, b) => (numbered ? labels[a].localeCompare(labels[b], "en", { numeric: true }) : total[b] - total[a]);
    children[row].sort(order).forEach((child, number) => {
      const holdsMost = isOpen && total[child] > 0.75 * total[row]; // its children have colours of their own
      place(child, begin, depth + 1, isOpen ? number % 6 : branch, holdsMost);
      begin += total[at] ? total[child] / total[at] : 0;
    });
  };
  place(at, 0, 0, 7, true);
  return nodes;
}

/** The legend as HTML: a swatch and a word for each. */
function legendOf(entries) {
  const legend = document.createElement("p");
  legend.className = "legend";
  for (const [label, look, color, dash] of entries) {
    const entry = document.createElement("span");
    const swatch = document.createElement("i");
    swatch.className = look;
    const isLine = ["line", "roof", "steps"].includes(look);
    if (isLine) swatch.style.borderTop = `2px ${dash === "dotdash" ? "dashed" : dash} ${color}`;
    else if (look === "missing") Object.assign(swatch, { textContent: "\u00d7" }).style.color = color;
    else if (look === "circles") swatch.style.border = `1.5px solid ${color}`;
    else swatch.style.background = color;
    entry.append(swatch, label);
    legend.append(entry);
  }
  return legend;
}
