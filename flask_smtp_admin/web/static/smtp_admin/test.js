// Shows the stages of a test as they come, on the page as it stands: a typed password stays typed.
// Without this script the same button brings the same report as a page.
"use strict";

(() => {
  const STREAM = "application/x-ndjson";
  const place = document.getElementById("report");
  if (!place || !window.ReadableStream) return;

  function element(tag, className, text) {
    const made = document.createElement(tag);
    if (className) made.className = className;
    if (text) made.textContent = text;
    return made;
  }

  function notice(words) {
    const made = element("div", "notice warn");
    made.append(element("p", "", words));
    place.replaceChildren(made);
  }

  function begin() {
    const section = element("section", "report card");
    const steps = element("ol", "steps");
    const running = element("li", "step running");
    running.append(element("span", "sign"), element("span", "stage", "Working…"));
    steps.append(running);
    section.append(element("h2", "outcome", "Testing"), steps);
    place.replaceChildren(section);
    return running;
  }

  function clearErrors(form) {
    for (const wrong of form.querySelectorAll(".field.wrong")) {
      wrong.classList.remove("wrong");
      wrong.querySelector(".error")?.remove();
      wrong.querySelector("[aria-invalid]")?.removeAttribute("aria-invalid");
    }
    document.getElementById("errors")?.remove();
  }

  function showErrors(errors) {
    let first = null;
    for (const [id, words] of Object.entries(errors)) {
      const input = document.getElementById(id);
      if (!input) continue;
      const field = input.closest(".field");
      field.classList.add("wrong");
      input.setAttribute("aria-invalid", "true");
      const error = element("p", "error", words);
      error.id = `${id}-error`;
      const described = (input.getAttribute("aria-describedby") || "").split(" ");
      if (!described.includes(error.id)) {
        input.setAttribute("aria-describedby", [...described, error.id].join(" ").trim());
      }
      field.append(error);
      for (let fold = field.closest("details"); fold; fold = fold.parentElement.closest("details")) {
        fold.open = true;
      }
      first ||= input;
    }
    first?.focus();
  }

  function take(message, running) {
    // The markup is ours, made and escaped by the server's templates.
    if (message.step) running.insertAdjacentHTML("beforebegin", message.step);
    if (message.report) place.innerHTML = message.report;
    if (message.notice) notice(message.notice);
    if (message.errors && Object.keys(message.errors).length) {
      place.replaceChildren();
      showErrors(message.errors);
    }
  }

  async function read(response, running) {
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      const lines = (rest + (value || "")).split("\n");
      rest = lines.pop();
      for (const line of lines) if (line) take(JSON.parse(line), running);
      if (done) return;
    }
  }

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("button[data-test]");
    if (!button) return;
    event.preventDefault();
    if (button.getAttribute("aria-disabled") === "true") return;
    const form = button.form;
    button.setAttribute("aria-disabled", "true");
    clearErrors(form);
    const running = begin();
    place.scrollIntoView({ block: "nearest" });
    try {
      const response = await fetch(button.dataset.test, {
        method: "POST",
        body: new FormData(form),
        headers: { Accept: STREAM },
        redirect: "error",
      });
      if ((response.headers.get("Content-Type") || "").startsWith(STREAM)) {
        await read(response, running);
      } else {
        notice("The page is out of date or you have been logged out. Reload it and try again.");
      }
    } catch {
      notice("The application did not answer. Look whether it runs, and try again.");
    } finally {
      button.removeAttribute("aria-disabled");
      place.scrollIntoView({ block: "nearest" });
    }
  });
})();
