// SPDX-License-Identifier: GPL-2.0-or-later
"use strict";
{
  const form = document.getElementById("filter"), {area, level, text, count} = form.elements;
  const sections = [...document.querySelectorAll("section.cards")];
  const cards = [...document.querySelectorAll(".card")].map(card => ({card, verdicts: card.dataset.verdicts.split(" ")}));
  const apply = () => {
    const verdicts = [...form.querySelectorAll("[name=verdict]:checked")].map(box => box.value);
    const words = text.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const each of cards) {
      if (words.length) each.text ??= each.card.textContent.toLowerCase();
      const fits = (!verdicts.length || verdicts.some(verdict => each.verdicts.includes(verdict)))
        && (!area.value || each.card.dataset.area === area.value)
        && (!level.value || each.card.dataset.level === level.value)
        && words.every(word => each.text.includes(word));
      each.card.hidden = !fits;
      shown += fits;
    }
    for (const section of sections) section.hidden = !section.querySelector(".card:not([hidden])");
    count.value = shown === cards.length ? `${shown} requirements` : `${shown} of ${cards.length} requirements`;
  };
  const reveal = () => {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!target?.matches(".card")) return;
    if (target.hidden) { form.reset(); apply(); }
    target.open = true;
    target.scrollIntoView();
  };
  form.addEventListener("input", apply);
  form.addEventListener("submit", event => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(apply));
  addEventListener("hashchange", reveal);
  form.hidden = false;
  apply();
  reveal();
}
