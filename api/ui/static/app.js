"use strict";

// A form is sent once: its button rests until the next page is there.
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!form.matches("form[data-once]")) return;
  if (form.dataset.sent) {
    event.preventDefault();
    return;
  }
  form.dataset.sent = "yes";
  for (const button of form.querySelectorAll("button[type=submit]")) button.disabled = true;
});

// Back in the history a browser may show the page as it was left.
window.addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form[data-once]")) {
    delete form.dataset.sent;
    for (const button of form.querySelectorAll("button[type=submit]")) button.disabled = false;
  }
});

// The zones that the browser knows, offered while typing.
const zones = document.getElementById("zones");
if (zones && Intl.supportedValuesOf) {
  for (const zone of ["UTC", ...Intl.supportedValuesOf("timeZone")]) {
    zones.append(new Option(zone, zone));
  }
}
