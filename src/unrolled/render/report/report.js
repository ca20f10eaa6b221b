"use strict";
// Two things that HTML has not: a table sorted by the button at the head of a column, and the value under a finger.
for (const button of document.querySelectorAll(".sortable thead button")) {
  button.addEventListener("click", () => sort(button.closest("th")));
}

function sort(head) {
  const body = head.closest("table").tBodies[0];
  const down = head.getAttribute("aria-sort") === "ascending";
  for (const other of head.parentNode.cells) other.setAttribute("aria-sort", "none");
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
  const isNumber = head.classList.contains("number");
  const rows = Array.from(body.rows, (row) => {
    const cell = row.cells[head.cellIndex];
    const key = isNumber ? cell.dataset.key : cell.textContent.trim();
    return { row, key: isNumber ? number(key) : key, isMissing: key === "" || key === "–" };
  });
  rows.sort((a, b) => a.isMissing - b.isMissing || (down ? -1 : 1) * compared(a.key, b.key));
  body.append(...rows.map((each) => each.row));
}

function number(key) {
  return { inf: Infinity, "-inf": -Infinity }[key] ?? Number(key);
}

// Words as words, and the numbers in them as numbers: "gain 0.75" before "gain 0.9" before "gain 10".
function compared(a, b) {
  if (typeof a === "number") return a === b ? 0 : a < b ? -1 : 1;
  const [ones, others] = [a, b].map((text) => text.split(/(\d+(?:\.\d+)?)/));
  for (let k = 0; k < Math.min(ones.length, others.length); k++) {
    const order = k % 2 ? ones[k] - others[k] : ones[k].localeCompare(others[k], "en");
    if (order) return order;
  }
  return ones.length - others.length;
}

for (const figure of document.querySelectorAll("figure")) {
  const value = figure.querySelector(".value");
  for (const kind of ["pointerover", "pointerdown"]) {
    figure.addEventListener(kind, ({ target }) => {
      const title = target.querySelector?.(":scope > title");
      if (value && title && target.closest(".values")) value.textContent = title.textContent.split("\n").join(" · ");
    });
  }
}
