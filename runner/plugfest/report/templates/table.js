// SPDX-License-Identifier: GPL-2.0-or-later
"use strict";
{
  const form = document.getElementById("filter"), {choice, text, count} = form.elements;
  const column = Number(choice.dataset.column);
  const rows = [...document.querySelectorAll(".rows tbody tr")].map(row => {
    const cells = [...row.cells].map(cell => cell.textContent);
    return {row, kind: cells[column], text: cells.join(" ").toLowerCase()};
  });
  for (const kind of new Set(rows.map(each => each.kind))) if (kind) choice.add(new Option(kind));
  const apply = () => {
    const words = text.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const each of rows) {
      const fits = (!choice.value || each.kind === choice.value) && words.every(word => each.text.includes(word));
      each.row.hidden = !fits;
      shown += fits;
    }
    count.value = shown === rows.length ? `${rows.length} rows` : `${shown} of ${rows.length} rows`;
  };
  form.addEventListener("input", apply);
  form.addEventListener("submit", event => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(apply));
  form.hidden = false;
  apply();
}
