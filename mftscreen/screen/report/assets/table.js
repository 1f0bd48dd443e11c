// A table that keeps only the rows in sight in the document.
const ROW_HEIGHT = 26;
const SPARE_ROWS = 12;
const NOTE_WIDTH = 150;
// How wide a character is, in pixels, and how many a column has at most.
const WIDE = { padding: 16, character: 7.6, most: 18 };
const NARROW = { padding: 8, character: 6.3, most: 12 };
const TRUST = ["ok", "untested", "flagged"];

const tableColumns = report.columns.filter(({ shared }) => !shared);

class Table {
  constructor(box, { onSelect, onFilter }) {
    this.box = box;
    this.onSelect = onSelect;
    this.onFilter = onFilter;
    this.filters = new Map();
    this.inputs = new Map();
    this.order = Int32Array.from({ length: nRows }, (_, row) => row);
    this.view = this.order;
    this.sorting = { name: null, turn: 1 };
    this.selected = null;
    this.body = create("tbody");
    this.build();
    box.addEventListener("scroll", () => this.draw());
    box.addEventListener("keydown", (event) => this.onKey(event));
    new ResizeObserver(() => this.draw()).observe(box);
  }

  build() {
    const table = create("table");
    table.setAttribute("role", "grid");
    const [slots, header] = [create("colgroup"), create("tr")];
    let [wide, narrow] = [0, 0];
    for (const column of tableColumns) {
      const { minor, name } = column;
      const widths = [WIDE, NARROW].map((screen) => this.width(column, screen));
      wide += widths[0];
      if (!minor) narrow += widths[1];
      const slot = create("col", "", `${minor ? "minor" : ""} ${name}`);
      slot.style.setProperty("--wide", `${widths[0]}px`);
      slot.style.setProperty("--narrow", `${widths[1]}px`);
      slots.append(slot);
      header.append(this.headerCell(column));
    }
    table.style.setProperty("--wide", `${wide}px`);
    table.style.setProperty("--narrow", `${narrow}px`);
    const head = create("thead");
    head.append(header);
    table.append(slots, head, this.body);
    this.box.append(table);
    this.box.style.setProperty("--rows", nRows);
    this.head = head;
  }

  width(column, { padding, character, most }) {
    if (column.name === "reason") return NOTE_WIDTH;
    // a title may have as many lines as words
    // bold text is wider
    let longest = Math.max(column.name === "trust" ? 8 : 4, ...column.title.split(" ").map((word) => word.length + 1));
    for (let row = 0; row < Math.min(nRows, 200); row++) {
      longest = Math.max(longest, cellText(column, row).length);
    }
    return padding + character * Math.min(longest, most);
  }

  headerCell({ name, title, kind, label, minor }) {
    const cell = create("th", "", `${kind}${minor ? " minor" : ""}`);
    cell.scope = "col";
    cell.dataset.column = name;
    const button = create("button", title);
    button.type = "button";
    button.title = `${label}: sort`;
    button.addEventListener("click", () => this.sort(name));
    const input = create("input");
    input.placeholder = HINTS[kind];
    input.title = EXPECTED[kind] ?? "write a part of it, or = and all of it";
    input.setAttribute("aria-label", `Filter ${title}`);
    let timer;
    input.addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(() => this.filter(name, input.value), 150);
    });
    this.inputs.set(name, input);
    cell.append(button, input);
    return cell;
  }

  // What rows are sorted by, the smaller the better.
  keyOf({ name, kind, values, highs, sign, centre }) {
    if (name === "trust") return (row) => TRUST.indexOf(values[row]);
    if (kind === "interval") {
      // by the end that is worse, or by the width if neither is
      if (centre !== null) return (row) => highs[row] - values[row];
      return sign > 0 ? (row) => highs[row] : (row) => -values[row];
    }
    if (centre !== null) return (row) => Math.abs(values[row] - centre);
    return (row) => sign * values[row];
  }

  // The first time the best come first, the second time last. Empty cells stay last in
  // both directions; equal ones keep the order of merit.
  sort(name) {
    const column = columns.get(name);
    const { values, kind, sign } = column;
    const again = this.sorting.name === name && this.sorting.turn === 1;
    const turn = again ? -1 : 1;
    this.sorting = { name, turn };
    const rows = Array.from({ length: nRows }, (_, row) => row);
    const filled = rows.filter((row) => values[row] !== null);
    if (["text", "formula"].includes(kind) && name !== "trust") {
      const { compare } = new Intl.Collator("en", { numeric: true });
      filled.sort((a, b) => turn * compare(values[a], values[b]) || a - b);
    } else {
      const key = this.keyOf(column);
      filled.sort((a, b) => turn * (key(a) - key(b)) || a - b);
    }
    const empty = rows.filter((row) => values[row] === null);
    this.order = Int32Array.from([...filled, ...empty]);
    for (const cell of this.head.querySelectorAll("th")) {
      cell.removeAttribute("aria-sort");
      if (cell.dataset.column === name) {
        cell.setAttribute("aria-sort", sign * turn > 0 ? "ascending" : "descending");
      }
    }
    this.update();
  }

  // Applies what is typed; while it cannot be read, no row is shown as if it fitted.
  filter(name, text) {
    const input = this.inputs.get(name);
    const column = columns.get(name);
    const test = readFilter(text, column);
    if (input) {  // a column of one value has none
      input.value = text;
      input.toggleAttribute("aria-invalid", test === undefined);
    }
    if (test === null) this.filters.delete(name);
    else this.filters.set(name, { text, test });
    this.update();
    this.onFilter();
  }

  textOf(name) {
    return this.filters.get(name)?.text ?? "";
  }

  // What is wrong with the filters, one sentence each.
  problems() {
    const wrong = [...this.filters].filter(([, { test }]) => test === undefined);
    return wrong.map(([name, { text }]) => {
      const { title, kind } = columns.get(name);
      return `The filter “${text}” of ${title} cannot be read: ${EXPECTED[kind]}.`;
    });
  }

  clear() {
    for (const input of this.inputs.values()) {
      input.value = "";
      input.removeAttribute("aria-invalid");
    }
    this.filters.clear();
    this.update();
    this.onFilter();
  }

  update() {
    const tests = [...this.filters].map(([name, { test }]) => [
      columns.get(name).values,
      test,
    ]);
    if (tests.some(([, test]) => test === undefined)) this.view = new Int32Array(0);
    else {
      this.view = this.order.filter((row) =>
        tests.every(([values, test]) => test(values[row], row)),
      );
    }
    this.box.scrollTop = 0;
    this.draw();
  }

  draw() {
    const inSight = Math.ceil(this.box.clientHeight / ROW_HEIGHT);
    const top = Math.floor(this.box.scrollTop / ROW_HEIGHT);
    const first = Math.max(0, Math.min(top, this.view.length - inSight) - SPARE_ROWS);
    const last = Math.min(this.view.length, top + inSight + SPARE_ROWS);
    const rows = Array.from(this.view.subarray(first, last), (row) => this.row(row));
    this.body.replaceChildren(
      this.space(first),
      ...rows,
      this.space(this.view.length - last),
    );
  }

  row(row) {
    const line = create("tr");
    line.dataset.row = row;
    line.setAttribute("aria-selected", String(row === this.selected));
    line.dataset.trust = valueOf("trust", row) ?? "";
    for (const column of tableColumns) {
      const { name, kind, minor } = column;
      const text = cellText(column, row);
      const cell = create("td", text, `${kind}${minor ? " minor" : ""}`);
      if (kind === "text") cell.title = text;
      if (name === "trust") cell.classList.add("trust");
      line.append(cell);
    }
    line.addEventListener("click", () => this.onSelect(row));
    return line;
  }

  space(rows) {
    const line = create("tr", "", "space");
    const cell = create("td");
    cell.style.height = `${rows * ROW_HEIGHT}px`;
    line.append(cell);
    line.hidden = rows === 0;
    return line;
  }

  // Marks a row and brings it into sight if it is not.
  select(row) {
    this.selected = row;
    const place = this.view.indexOf(row);
    const room = this.box.clientHeight - this.head.offsetHeight;
    const top = place * ROW_HEIGHT;
    const { scrollTop } = this.box;
    if (place >= 0 && (top < scrollTop || top + ROW_HEIGHT > scrollTop + room)) {
      this.box.scrollTop = Math.max(0, top - room / 2);
    }
    this.draw();
  }

  onKey(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step || event.target !== this.box || !this.view.length) return;
    event.preventDefault();
    const place = this.view.indexOf(this.selected) + step;
    this.onSelect(this.view[Math.max(0, Math.min(place, this.view.length - 1))]);
  }
}
