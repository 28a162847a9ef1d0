/* Small comforts of the lists, none of them needed: a box that ticks every row of the page, how many
   are ticked, and "/" for the search. */
(() => {
  "use strict";

  const boxes = () => [...document.querySelectorAll("input[name=id][type=checkbox]")];

  const show = () => {
    const all = document.querySelectorAll("[data-tick-all]");
    const words = document.querySelector("[data-selected]");
    const everything = document.querySelector("[data-all]")?.checked;
    if (!all.length || !words) return;
    const ticked = boxes().filter((box) => box.checked).length;
    for (const box of all) {
      box.closest("[hidden]")?.removeAttribute("hidden");
      box.checked = ticked > 0 && ticked === boxes().length;
      box.indeterminate = ticked > 0 && ticked < boxes().length;
    }
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
  // "Every connection" is no part of an address that one wants to keep.
  document.querySelector("form.search")?.addEventListener("formdata", (event) => {
    if (!event.formData.get("connection")) event.formData.delete("connection");
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest("input, textarea, select, [contenteditable]")) return;
    event.preventDefault();
    document.getElementById("q")?.focus();
  });
  show();
})();
