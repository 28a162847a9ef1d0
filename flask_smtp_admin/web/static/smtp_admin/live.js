/* Refreshes the parts of a page that carry data-live and an id, by asking for the page again.

   It stops while the tab is hidden and while a person has paused it, and leaves alone what a person
   is doing: ticked boxes, choices, open details and the focus stay. When an answer is not the page
   (logged out, server away), it stops and offers the link to reload. */
(() => {
  "use strict";

  const box = document.querySelector("[data-live-every]");
  if (!box) return;

  const every = Number(box.dataset.liveEvery) * 1000;
  const reload = box.querySelector("[data-live-reload]");
  const toggle = box.querySelector("[data-live-toggle]");
  const words = box.querySelector("[data-live-words]");
  let timer = 0;
  let paused = false;
  let asking = null;

  const say = (text, pressed) => {
    words.textContent = text;
    toggle.setAttribute("aria-pressed", String(pressed));
  };

  const remembered = (part) => ({
    values: [...part.querySelectorAll("input[type=checkbox][id], select[id]")].map((field) => [
      field.id, field.type === "checkbox" ? field.checked : field.value,
    ]),
    open: [...part.querySelectorAll("details[id][open]")].map((details) => details.id),
    focus: part.contains(document.activeElement) ? document.activeElement : null,
    scrolled: [...part.querySelectorAll(".table")].map((table) => table.scrollLeft),
  });

  const address = (element) =>
    element.id ? `#${CSS.escape(element.id)}`
      : element.name && element.value ? `[name="${CSS.escape(element.name)}"][value="${CSS.escape(element.value)}"]`
        : element.getAttribute("href") ? `a[href="${CSS.escape(element.getAttribute("href"))}"]`
          : null;

  const restore = (part, kept) => {
    for (const [id, value] of kept.values) {
      const field = part.querySelector(`#${CSS.escape(id)}`);
      if (!field) continue;
      if (field.type === "checkbox") field.checked = value;
      // A choice that is not offered any more gives way to the first one.
      else if ([...field.options].some((option) => option.value === value)) field.value = value;
    }
    for (const id of kept.open) part.querySelector(`#${CSS.escape(id)}`)?.setAttribute("open", "");
    part.querySelectorAll(".table").forEach((table, n) => (table.scrollLeft = kept.scrolled[n] ?? 0));
    const where = kept.focus && address(kept.focus);
    if (where) part.querySelector(where)?.focus({ preventScroll: true });
  };

  const replace = (fresh) => {
    for (const part of document.querySelectorAll("[data-live][id]")) {
      const other = fresh.getElementById(part.id);
      if (!other || other.innerHTML === part.dataset.liveSource) continue;
      // An open choice closes when its element is replaced, so wait for the next time.
      if (document.activeElement?.tagName === "SELECT" && part.contains(document.activeElement)) continue;
      const source = other.innerHTML;
      const kept = remembered(part);
      const next = document.importNode(other, true);
      part.replaceWith(next);
      next.dataset.liveSource = source;
      restore(next, kept);
    }
    document.dispatchEvent(new CustomEvent("live:refreshed"));
  };

  const stop = () => {
    clearTimeout(timer);
    asking?.abort();
    asking = null;
  };

  const give_up = () => {
    stop();
    paused = true;
    toggle.hidden = true;
    reload.hidden = false;
  };

  const ask = async () => {
    stop();
    asking = new AbortController();
    try {
      const answer = await fetch(location.href, { signal: asking.signal, headers: { Accept: "text/html" } });
      if (!answer.ok || answer.redirected) return give_up();
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      if (!fresh.querySelector("[data-live-every]")) return give_up();
      replace(fresh);
    } catch (error) {
      if (error.name === "AbortError") return;
      return give_up();
    }
    schedule();
  };

  const schedule = () => {
    clearTimeout(timer);
    if (!paused && !document.hidden) timer = setTimeout(ask, every);
  };

  toggle.addEventListener("click", () => {
    paused = !paused;
    say(paused ? "Paused" : "Live", !paused);
    paused ? stop() : ask();
  });
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) stop();
    else if (!paused) ask();
  });
  window.addEventListener("pagehide", stop);
  window.addEventListener("submit", () => { paused = true; stop(); });

  for (const part of document.querySelectorAll("[data-live][id]")) part.dataset.liveSource = part.innerHTML;
  reload.hidden = true;
  toggle.hidden = false;
  schedule();
})();
