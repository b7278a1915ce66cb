"use strict";

// What the pages of campaigns do beside htmx.
(() => {
  // A slider and the number beside it say the same.
  for (const slider of document.querySelectorAll("[data-mirror]")) {
    const number = document.getElementById(slider.dataset.mirror);
    slider.addEventListener("input", () => { number.value = slider.value; });
    number.addEventListener("input", () => { slider.value = number.value; });
  }

  // What a choice makes pointless is neither shown nor sent.
  const choice = document.querySelector("[data-shows]");
  function show() {
    for (const part of document.querySelectorAll("[data-shown-for]")) {
      const shown = part.dataset.shownFor.split(" ").includes(choice.value);
      part.hidden = !shown;
      for (const field of part.querySelectorAll("input, select")) field.disabled = !shown;
    }
  }
  if (choice) {
    choice.addEventListener("change", show);
    show();
  }

  // A new campaign's times are in the zone of whoever plans it, unless they say otherwise.
  const zone = document.querySelector('#plan[action="/campaigns"] #timezone');
  if (zone?.value === "UTC") zone.value = Intl.DateTimeFormat().resolvedOptions().timeZone ?? "UTC";
})();
