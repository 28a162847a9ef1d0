// Comfort for the form of a connection: presets fill in at once, the port follows the encryption.
// Everything here works without it too, with one more click.
"use strict";

(() => {
  const PORTS = { none: "25", starttls: "587", implicit: "465" };
  const form = document.getElementById("connection");
  const preset = document.getElementById("preset");
  if (!form || !preset) return;
  const { host, port, encryption, username } = form.elements;

  function suggest() {
    port.placeholder = PORTS[encryption.value] || "";
  }

  encryption.addEventListener("change", () => {
    // A port that somebody chose on purpose stays.
    if (Object.values(PORTS).includes(port.value)) port.value = PORTS[encryption.value];
    suggest();
  });
  suggest();

  // Who types where the test message goes wants to test; Save is the form's first button.
  document.getElementById("field-test_recipient")?.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.isComposing) return;
    event.preventDefault();
    form.querySelector("button[data-test]").click();
  });

  preset.form.addEventListener("submit", (event) => event.preventDefault());
  preset.form.querySelector("button").hidden = true;
  preset.addEventListener("change", () => {
    const chosen = preset.selectedOptions[0];
    const remark = document.getElementById("preset-remark");
    remark.textContent = chosen.dataset.remark || "";
    remark.hidden = !chosen.dataset.remark;
    if (!chosen.value) return;
    host.value = chosen.dataset.host;
    port.value = chosen.dataset.port;
    encryption.value = chosen.dataset.encryption;
    if (chosen.dataset.username) username.value = chosen.dataset.username;
    suggest();
  });
})();
