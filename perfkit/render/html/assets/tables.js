"use strict";
/* Tables: sorted by any column, filtered by text. Rows that are not in the HTML come from the page's data. */

const PAGE_OF_ROWS = 100;
const LONG = 36; // letters from which a text may take several lines, as in tables.py

/** The number that a cell shows: `1,234.5`, `12.0%`, `<0.001`; NaN for `-`. */
function shownNumber(text) {
  const bound = text.startsWith("<") ? 0.5 : text.startsWith(">") ? 0.5 : 1;
  const multiple = { K: 1e3, M: 1e6, B: 1e9 }[text.slice(-1)] || 1;
  const number = parseFloat(text.replace(/[<>,]/g, ""));
  return text === "inf" ? Infinity : text === "-inf" ? -Infinity : number * bound * multiple;
}

function compareCells(a, b, isText) {
  if (isText) return a.localeCompare(b, undefined, { numeric: true });
  const [x, y] = [shownNumber(a), shownNumber(b)];
  return Number.isNaN(x) ? (Number.isNaN(y) ? 0 : -1) : Number.isNaN(y) ? 1 : x - y;
}

/** A row as HTML makes it; texts are set, never parsed. */
function tableRow(texts, tips, isText) {
  const line = document.createElement("tr");
  texts.forEach((text, column) => {
    const cell = line.insertCell();
    if (isText[column]) {
      const name = document.createElement("bdi");
      if (text.length > LONG) cell.className = "long";
      name.textContent = text;
      if (tips[column]) name.title = tips[column];
      cell.append(name);
    } else {
      cell.className = "number";
      cell.textContent = text;
    }
  });
  return line;
}

/** The whole name behind a cell's text; empty where that is all. */
function tipOf(cell) {
  const name = cell.querySelector("bdi");
  return name ? name.title : "";
}

class SortedTable {
  constructor(root, data) {
    this.root = root;
    this.body = root.querySelector("tbody");
    this.heads = [...root.querySelectorAll("thead th")];
    this.isText = data ? data.text : this.heads.map((head) => !head.classList.contains("number"));
    const there = [...this.body.rows];
    this.rows = data
      ? data.rows.map((texts, at) => ({ texts, tips: data.tips[at] }))
      : there.map((line) => ({ texts: [...line.cells].map((cell) => cell.textContent), tips: [...line.cells].map(tipOf), line }));
    this.order = [...this.rows.keys()];
    this.limit = data ? there.length : Infinity;
    this.column = -1;
    this.words = [];
    this.count = root.querySelector(".count");
    this.filter = root.querySelector(".filter");
    this.more = root.querySelector(".more");
    this.heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => this.sort(column)));
    if (this.filter) this.filter.addEventListener("input", () => this.keep(this.filter.value));
    if (this.more) this.more.addEventListener("click", () => this.showMore());
    this.tell(this.rows.length);
    this.watch();
  }

  /** Marks the sides on which more of the table lies, and says how many columns do on the right. */
  watch() {
    const [scroll, beyond] = [this.root.querySelector(".scroll"), this.root.querySelector(".beyond")];
    const look = () => {
      const edge = scroll.getBoundingClientRect().left + scroll.clientLeft + scroll.clientWidth;
      const more = this.heads.filter((head) => head.getBoundingClientRect().right > edge + 1).length;
      scroll.parentElement.classList.toggle("is-right", more > 0);
      scroll.parentElement.classList.toggle("is-left", scroll.scrollLeft > 0);
      scroll.style.scrollPaddingLeft = `${this.heads[0].offsetWidth}px`; // what has the focus is not below the first column
      beyond.hidden = scroll.scrollWidth <= scroll.clientWidth;
      beyond.textContent = more ? `${more} more column${more > 1 ? "s" : ""} to the right \u2192` : "\u2190 more columns to the left";
    };
    scroll.addEventListener("scroll", look, { passive: true });
    const sizes = new ResizeObserver(look); // also when it is unfolded, and when other rows make columns wider
    [scroll, scroll.firstElementChild].forEach((one) => sizes.observe(one));
  }

  sort(column) {
    const down = this.column === column ? !this.down : !this.isText[column];
    [this.column, this.down] = [column, down];
    const way = down ? -1 : 1;
    this.order = [...this.rows.keys()].sort(
      (a, b) => way * compareCells(this.rows[a].texts[column], this.rows[b].texts[column], this.isText[column]) || a - b,
    );
    this.heads.forEach((head, at) =>
      head.setAttribute("aria-sort", at === column ? (down ? "descending" : "ascending") : "none"),
    );
    this.draw();
  }

  /** Keep rows that hold all words, in names as they are shown or whole. */
  keep(text) {
    this.words = text.toLowerCase().split(/\s+/).filter(Boolean);
    this.draw();
  }

  showMore() {
    this.limit = Math.max(PAGE_OF_ROWS, this.limit * 4);
    this.draw();
  }

  matches(row) {
    if (!this.words.length) return true;
    row.search ||= [...row.texts.filter((_, at) => this.isText[at]), ...Object.values(row.tips || {})].join("\n").toLowerCase();
    return this.words.every((word) => row.search.includes(word));
  }

  draw() {
    const kept = this.order.filter((at) => this.matches(this.rows[at]));
    const lines = kept.slice(0, this.limit).map((at) => {
      const row = this.rows[at];
      return row.line || tableRow(row.texts, row.tips, this.isText);
    });
    this.body.replaceChildren(...lines);
    this.tell(kept.length);
  }

  tell(kept) {
    const shown = Math.min(kept, this.limit);
    if (this.count) this.count.textContent = `${shown.toLocaleString("en")} of ${kept.toLocaleString("en")} rows`;
    if (this.more) this.more.hidden = shown >= kept;
  }

  /** Show the row whose name is this, whole or short, and mark it. */
  find(name) {
    const at = this.rows.findIndex((row) => row.texts.includes(name) || Object.values(row.tips || {}).includes(name));
    if (at < 0) return false;
    if (this.filter) this.filter.value = "";
    this.words = [];
    this.limit = Math.max(this.limit, this.order.indexOf(at) + 1);
    this.draw();
    const line = this.body.rows[this.order.indexOf(at)];
    this.root.querySelectorAll("tr.found").forEach((other) => other.classList.remove("found"));
    line.classList.add("found");
    if (this.root.closest("details")) this.root.closest("details").open = true;
    line.tabIndex = -1;
    line.scrollIntoView({ block: "center" });
    line.focus({ preventScroll: true });
    return true;
  }
}
