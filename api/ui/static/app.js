"use strict";

// A form is sent once: its button rests until the next page is there.
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (event.defaultPrevented || !form.matches("form[data-once]")) return;
  if (form.dataset.sent) {
    event.preventDefault();
    return;
  }
  form.dataset.sent = "yes";
  event.submitter?.classList.add("btn-loading");
  // Only after the form was read: what is disabled is not sent, and a button may carry a value.
  setTimeout(() => setSubmitting(form, true));
});

function setSubmitting(form, yes) {
  form.ariaBusy = String(yes);
  for (const button of form.querySelectorAll("button[type=submit]")) button.disabled = yes;
}

// Back in the history a browser may show the page as it was left.
window.addEventListener("pageshow", (event) => {
  if (!event.persisted) return;
  for (const form of document.querySelectorAll("form[data-once]")) {
    delete form.dataset.sent;
    setSubmitting(form, false);
    for (const button of form.querySelectorAll(".btn-loading")) button.classList.remove("btn-loading");
  }
});

// The second click of a double click does nothing, except where clicks are meant to be many (data-repeat).
document.addEventListener("click", (event) => {
  const button = event.target.closest("button, input[type=submit], [role=button]");
  if (!button || event.detail < 2 || button.closest("[data-repeat]")) return;
  event.preventDefault();
  event.stopImmediatePropagation();
}, { capture: true });

// A form that says data-confirm asks first: what will happen, with the words of its button to do it.
const question = document.getElementById("confirm");
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!form.dataset.confirm || form.dataset.confirmed) {
    delete form.dataset.confirmed;
    return;
  }
  event.preventDefault();
  event.stopImmediatePropagation();
  const submitter = event.submitter;
  question.querySelector("[data-title]").textContent = form.dataset.confirmTitle ?? "Are you sure?";
  question.querySelector("[data-text]").textContent = form.dataset.confirm;
  const yes = question.querySelector("[value=yes]");
  yes.textContent = form.dataset.confirmButton ?? submitter?.textContent ?? "Yes";
  yes.className = `btn btn-${form.dataset.confirmTone ?? "danger"}`;
  question.returnValue = "no";
  question.addEventListener("close", () => {
    if (question.returnValue !== "yes") return;
    form.dataset.confirmed = "yes";
    form.requestSubmit(submitter);
  }, { once: true });
  question.showModal();
}, { capture: true });

// What a button copies is the text of the element it names.
document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent.trim());
  const words = button.querySelector("[data-words]");
  const before = words.textContent;
  words.textContent = "Copied";
  button.addEventListener("blur", () => { words.textContent = before; }, { once: true });
});

// A message is closed by its own button.
document.addEventListener("click", (event) => event.target.closest("[data-close]")?.closest(".alert").remove());

// A table that is wider than its place can be scrolled with the keyboard as well.
function reachTables() {
  for (const place of document.querySelectorAll(".table-responsive")) {
    if (place.scrollWidth > place.clientWidth) place.tabIndex = 0;
    else place.removeAttribute("tabindex");
  }
}
for (const [on, what] of [[window, "load"], [window, "resize"], [document, "htmx:after:swap"]]) on.addEventListener(what, reachTables);


// The zones that the browser knows, offered while typing.
const zones = document.getElementById("zones");
if (zones && Intl.supportedValuesOf) {
  for (const zone of ["UTC", ...Intl.supportedValuesOf("timeZone")]) {
    zones.append(new Option(zone, zone));
  }
}
