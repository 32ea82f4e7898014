"use strict";

/** Rows of a table by one of its columns, within their groups; rows without a number come last. */
function sort(table, head) {
  const up = head.ariaSort !== "ascending";
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", up ? "ascending" : "descending");
  const words = head.classList.contains("words");
  const text = (row) => row.cells[head.cellIndex].firstChild?.textContent.trim() ?? "";
  const number = (row) => parseFloat(text(row).replaceAll(",", ""));
  for (const body of table.tBodies) {
    const rows = [...body.rows].filter((row) => !row.classList.contains("group"));
    rows.sort((a, b) => {
      if (words) return (up ? 1 : -1) * text(a).localeCompare(text(b), "en", { numeric: true });
      const [x, y] = [number(a), number(b)];
      return isNaN(x) || isNaN(y) ? isNaN(x) - isNaN(y) : up ? x - y : y - x;
    });
    body.append(...rows);
  }
}

/** Only rows that have every word, in themselves or in the heading of their group. */
function filter(table, typed, told) {
  const words = typed.toLowerCase().split(/\s+/).filter(Boolean);
  let [shown, all] = [0, 0];
  for (const body of table.tBodies) {
    const rows = [...body.rows];
    const group = rows[0]?.classList.contains("group") ? rows.shift() : null;
    for (const row of rows) {
      const text = [...row.cells, ...(group?.cells ?? [])].map((cell) => cell.textContent).join(" ").toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
      shown += !row.hidden;
      all += 1;
    }
    if (group) group.hidden = rows.every((row) => row.hidden);
  }
  told.value = words.length ? `${shown} of ${all} rows` : "";
}

for (const table of document.querySelectorAll("table")) {
  for (const head of table.tHead.rows[0].cells) {
    const button = document.createElement("button");
    button.append(...head.childNodes);
    button.addEventListener("click", () => sort(table, head));
    head.append(button);
  }
  const tools = table.closest("section").querySelector(".tools");
  const [typed, told] = tools.querySelectorAll("input, output");
  typed.addEventListener("input", () => filter(table, typed.value, told));
  tools.hidden = table.querySelectorAll("tbody tr:not(.group)").length < 5;
}

/** The value nearest to the pointer, or the next one by the arrow keys. */
const tip = document.getElementById("tip");
const ring = document.createElementNS(document.querySelector("svg")?.namespaceURI, "circle");
ring.setAttribute("class", "ring");
ring.setAttribute("r", 6);

function hide() {
  tip.textContent = "";
  ring.remove();
}

for (const chart of document.querySelectorAll("[data-marks]")) {
  const marks = JSON.parse(chart.dataset.marks);
  const svg = chart.querySelector("svg");
  let at = -1;
  const show = (n) => {
    at = n;
    const [x, y, text] = marks[n];
    ring.setAttribute("cx", x);
    ring.setAttribute("cy", y);
    svg.append(ring);
    tip.textContent = text;
    const box = ring.getBoundingClientRect();
    const above = box.top - tip.offsetHeight - 6;
    tip.style.top = `${above > 0 ? above : box.bottom + 6}px`;
    tip.style.left = `${Math.max(4, Math.min(box.left, document.documentElement.clientWidth - tip.offsetWidth - 4))}px`;
  };
  const point = (event) => {
    const place = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
    let [nearest, least] = [-1, 48];
    marks.forEach(([x, y], n) => {
      const far = Math.hypot(x - place.x, y - place.y);
      if (far < least) [nearest, least] = [n, far];
    });
    nearest < 0 ? hide() : show(nearest);
  };
  svg.addEventListener("pointermove", point);
  svg.addEventListener("pointerdown", point);
  svg.addEventListener("pointerleave", hide);
  chart.addEventListener("blur", hide);
  chart.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (event.key === "Escape") hide();
    if (!step || !marks.length) return;
    event.preventDefault();
    at = (at + step + marks.length) % marks.length;
    show(at);
    ring.scrollIntoView({ block: "nearest", inline: "nearest" });
    show(at);
  });
}

/** Whether there is more than fits is said in words too; on paper, where nothing scrolls, such a table is small. */
const sizes = new ResizeObserver((entries) => {
  if (matchMedia("print").matches) return;
  for (const { target } of entries) target.parentElement.classList.toggle("wide", target.scrollWidth > target.clientWidth);
});
for (const part of document.querySelectorAll(".scroll")) sizes.observe(part);
