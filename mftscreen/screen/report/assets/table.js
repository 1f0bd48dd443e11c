// A table that keeps only the rows in sight in the document.
const ROW_HEIGHT = 26;
const SPARE_ROWS = 12;
const HINTS = { number: ">1, 0..2", flag: "y / n", text: "contains" };

// Returns a test for one column; null for no filter, undefined for one it cannot read.
function readFilter(text, kind) {
  const wanted = text.trim();
  if (wanted === "") return null;
  if (kind === "flag") {
    const flag = wanted[0].toLowerCase();
    return "yn".includes(flag) ? (value) => value === (flag === "y") : undefined;
  }
  if (kind === "text") {
    if (wanted.startsWith("=")) return (value) => value === wanted.slice(1);
    const part = wanted.toLowerCase();
    return (value) => value !== null && value.toLowerCase().includes(part);
  }
  const range = wanted.split("..");
  const [, sign, bound] = wanted.match(/^(<=|>=|<|>|=)?(.*)$/s);
  const [low, high] = (range.length === 2 ? range : [bound, bound]).map((end) =>
    end.trim() === "" ? NaN : Number(end),
  );
  if (Number.isNaN(low) || Number.isNaN(high)) return undefined;
  const holds =
    {
      "<": (value) => value < low,
      "<=": (value) => value <= low,
      ">": (value) => value > low,
      ">=": (value) => value >= low,
    }[sign] ?? ((value) => value >= low && value <= high);
  return (value) => value !== null && holds(value);
}

class Table {
  constructor(box, { onSelect, onFilter }) {
    this.box = box;
    this.onSelect = onSelect;
    this.onFilter = onFilter;
    this.filters = new Map();
    this.inputs = new Map();
    this.order = Int32Array.from({ length: nRows }, (_, row) => row);
    this.view = this.order;
    this.sorting = { name: null, sign: 1 };
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
    const [widths, header] = [create("colgroup"), create("tr")];
    let total = 0;
    for (const column of report.columns) {
      const width = this.width(column);
      total += width;
      const slot = create("col");
      slot.style.width = `${width}px`;
      widths.append(slot);
      header.append(this.headerCell(column));
    }
    table.style.minWidth = `max(100%, ${total}px)`;
    const head = create("thead");
    head.append(header);
    table.append(widths, head, this.body);
    this.box.append(table);
    this.head = head;
  }

  width({ name, kind, values }) {
    let longest = Math.max(9, name.length + 3);
    for (const value of values.slice(0, 200)) {
      longest = Math.max(longest, format(value).length);
    }
    return 18 + 8 * Math.min(longest, kind === "text" ? 30 : 18);
  }

  headerCell({ name, kind, label }) {
    const cell = create("th", "", kind);
    cell.scope = "col";
    cell.dataset.column = name;
    const button = create("button", name);
    button.type = "button";
    button.title = `${label}: sort`;
    button.addEventListener("click", () => this.sort(name));
    const input = create("input");
    input.placeholder = HINTS[kind];
    input.setAttribute("aria-label", `Filter ${name}`);
    let timer;
    input.addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(() => this.filter(name, input.value), 150);
    });
    this.inputs.set(name, input);
    cell.append(button, input);
    return cell;
  }

  // Empty cells stay last in both directions; equal ones keep the order of merit.
  sort(name) {
    const { values, kind } = columns.get(name);
    const again = this.sorting.name === name;
    this.sorting = { name, sign: again ? -this.sorting.sign : 1 };
    const { sign } = this.sorting;
    const collate = new Intl.Collator("en", { numeric: true }).compare;
    const compare = kind === "text" ? collate : (a, b) => a - b;
    const rows = Array.from({ length: nRows }, (_, row) => row);
    const filled = rows.filter((row) => values[row] !== null);
    filled.sort((a, b) => sign * compare(values[a], values[b]) || a - b);
    const empty = rows.filter((row) => values[row] === null);
    this.order = Int32Array.from([...filled, ...empty]);
    for (const cell of this.head.querySelectorAll("th")) {
      cell.removeAttribute("aria-sort");
      if (cell.dataset.column === name) {
        cell.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
      }
    }
    this.update();
  }

  filter(name, text) {
    const input = this.inputs.get(name);
    input.value = text;
    const test = readFilter(text, columns.get(name).kind);
    input.toggleAttribute("aria-invalid", test === undefined);
    if (test === undefined) return;
    if (test) this.filters.set(name, test);
    else this.filters.delete(name);
    this.update();
    this.onFilter();
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
    const tests = [...this.filters].map(([name, test]) => [
      columns.get(name).values,
      test,
    ]);
    this.view = tests.length
      ? this.order.filter((row) => tests.every(([values, test]) => test(values[row])))
      : this.order;
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
    for (const { name, kind, values } of report.columns) {
      const flagged = name === "ood" && values[row];
      const cell = create("td", format(values[row]), flagged ? "flagged" : kind);
      if (kind === "text" && values[row]) cell.title = values[row];
      line.append(cell);
    }
    line.addEventListener("click", () => this.onSelect(row));
    return line;
  }

  space(rows) {
    const line = create("tr", "", "space");
    const cell = create("td");
    cell.colSpan = report.columns.length;
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
