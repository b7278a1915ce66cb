"use strict";

// A file can be dropped on the part of a form that takes it.
for (const place of document.querySelectorAll("[data-drop]")) {
  const input = place.querySelector("input[type=file]");
  const mark = (yes) => place.classList.toggle("drop-over", yes);
  place.addEventListener("dragover", (event) => {
    event.preventDefault();
    mark(true);
  });
  place.addEventListener("dragleave", () => mark(false));
  place.addEventListener("drop", (event) => {
    event.preventDefault();
    mark(false);
    if (event.dataTransfer.files.length !== 1) return;
    input.files = event.dataTransfer.files;
    input.dispatchEvent(new Event("change", { bubbles: true }));
  });
}
