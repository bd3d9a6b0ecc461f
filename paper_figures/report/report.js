"use strict";
(() => {
  const table = document.getElementById("accuracy-table");
  const body = table.tBodies[0];
  const start = Array.from(body.rows);
  const heads = Array.from(table.tHead.rows[table.tHead.rows.length - 1].cells);
  const keyOf = (row, at) => {
    const cell = row.cells[at];
    if (at === 0) return cell.textContent.trim().toLowerCase();
    return cell.dataset.value === "" ? NaN : Number(cell.dataset.value);
  };
  const compare = (a, b) => (typeof a === "string" ? a.localeCompare(b) : a - b);
  heads.forEach((head, at) => {
    head.querySelector("button").addEventListener("click", () => {
      const before = head.getAttribute("aria-sort");
      const first = at === 0 ? "ascending" : "descending";
      const second = at === 0 ? "descending" : "ascending";
      const next = before === "none" ? first : before === first ? second : "none";
      heads.forEach((other) => other.setAttribute("aria-sort", "none"));
      head.setAttribute("aria-sort", next);
      const rows = start.slice();
      if (next !== "none") {
        const sign = next === "ascending" ? 1 : -1;
        rows.sort((a, b) => {
          const [x, y] = [keyOf(a, at), keyOf(b, at)];
          // What has no number stands last, whichever way.
          if (x !== x || y !== y) return (x !== x) - (y !== y);
          return sign * compare(x, y);
        });
      }
      body.replaceChildren(...rows);
    });
  });
  const filter = document.getElementById("filter");
  const shown = document.getElementById("shown");
  const apply = () => {
    const wanted = filter.value.trim().toLowerCase();
    let count = 0;
    start.forEach((row) => {
      const match = row.cells[0].textContent.toLowerCase().includes(wanted);
      row.hidden = !match;
      count += match;
    });
    shown.textContent = wanted ? `${count} of ${start.length}` : "";
  };
  filter.addEventListener("input", apply);
  const open = () => {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!target) return;
    const details = target.matches("details") ? target : target.querySelector("details");
    if (details) details.open = true;
    target.scrollIntoView();
  };
  window.addEventListener("hashchange", open);
  if (location.hash) open();
})();
