// Light, dark, or as the system: applied before the page is drawn, kept in this browser.
"use strict";

(() => {
  const KEY = "smtp-admin-theme";
  const root = document.documentElement;

  function stored() {
    try {
      return localStorage.getItem(KEY) || "system";
    } catch {
      return "system"; // storage is forbidden: the choice lasts as long as the page
    }
  }

  function apply(choice) {
    if (choice === "light" || choice === "dark") root.dataset.theme = choice;
    else delete root.dataset.theme;
    for (const button of document.querySelectorAll("[data-theme-choice]")) {
      button.setAttribute("aria-pressed", String(button.dataset.themeChoice === choice));
    }
  }

  apply(stored());

  document.addEventListener("DOMContentLoaded", () => {
    const group = document.querySelector(".theme");
    if (!group) return;
    group.hidden = false; // without scripts there is nothing to press
    apply(stored());
    group.addEventListener("click", (event) => {
      const button = event.target.closest("[data-theme-choice]");
      if (!button) return;
      const choice = button.dataset.themeChoice;
      try {
        localStorage.setItem(KEY, choice);
      } catch {
        // see stored()
      }
      apply(choice);
    });
  });
})();
