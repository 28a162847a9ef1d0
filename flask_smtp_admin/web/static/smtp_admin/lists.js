/* Small comforts of the lists, none of them needed: a box that ticks every row of the page, how many
   are ticked, and "/" for the search. */
(() => {
  "use strict";

  const boxes = () => [...document.querySelectorAll("input[name=id][type=checkbox]")];

  const show = () => {
    const all = document.querySelector("[data-tick-all]");
    const words = document.querySelector("[data-selected]");
    const everything = document.querySelector("[data-all]")?.checked;
    if (!all || !words) return;
    const ticked = boxes().filter((box) => box.checked).length;
    all.hidden = false;
    all.checked = ticked > 0 && ticked === boxes().length;
    all.indeterminate = ticked > 0 && ticked < boxes().length;
    words.hidden = everything || ticked === 0;
    words.textContent = `or the ${ticked} selected`;
  };

  document.addEventListener("change", (event) => {
    const target = event.target;
    if (target.matches?.("[data-tick-all]")) {
      for (const box of boxes()) box.checked = target.checked;
    }
    if (target.matches?.("input[type=checkbox]")) show();
  });
  document.addEventListener("live:refreshed", show);
  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest("input, textarea, select, [contenteditable]")) return;
    event.preventDefault();
    document.getElementById("q")?.focus();
  });
  show();
})();
