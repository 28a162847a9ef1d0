/* A search that no index helps looks at some rows a page. Asked to search further back, this does so
   page by page, says how far it is, and opens the page that has something, or the last one. Without
   it the link leads to the next of these pages. */
(() => {
  "use strict";

  let asking = null;
  let latest = null;

  const box = () => document.querySelector("[data-searched]");
  const found = (page) => page.querySelector("#rows tbody tr");

  // What the page says of how far it looked; again whenever the list has refreshed itself.
  const show = () => {
    const here = box();
    if (!here || !latest) return;
    here.querySelector("[data-searched-words]").replaceWith(
      document.importNode(latest.querySelector("[data-searched-words]"), true));
    const link = here.querySelector("[data-further]");
    link.href = latest.querySelector("[data-further]").href;
    link.hidden = asking !== null;
    here.querySelector("[data-further-stop]").hidden = asking === null;
  };

  const stop = () => {
    asking?.abort();
    asking = null;
    show();
  };

  const pageAt = async (address, signal) => {
    const answer = await fetch(address, { signal, headers: { Accept: "text/html" } });
    if (!answer.ok || answer.redirected) return null;
    return new DOMParser().parseFromString(await answer.text(), "text/html");
  };

  const search = async (first) => {
    asking = new AbortController();
    const { signal } = asking;
    latest = box();
    show();
    let address = first;
    try {
      for (;;) {
        const page = await pageAt(address, signal);
        const further = page?.querySelector("[data-searched]");
        // Whatever the page is, it says more than this one: rows, the end, or that one is logged out.
        if (!further || found(page)) return location.assign(address);
        latest = further;
        show();
        address = further.querySelector("[data-further]").href;
      }
    } catch (error) {
      if (error.name !== "AbortError") location.assign(address);
    }
  };

  document.addEventListener("click", (event) => {
    const target = event.target;
    if (target.closest?.("[data-further-stop]")) stop();
    const link = target.closest?.("[data-further]");
    if (!link || event.button || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    search(link.href);
    box()?.querySelector("[data-further-stop]").focus();
  });
  document.addEventListener("live:refreshed", show);
  // Gone back to from what was found, it is as it was before.
  window.addEventListener("pagehide", stop);
})();
