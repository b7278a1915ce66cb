"use strict";

// What must be right before the first paint: the colours, and times in the viewer's zone. It is loaded without defer.
{
  const root = document.documentElement;
  const systemIsDark = matchMedia("(prefers-color-scheme: dark)");

  function chosenTheme() {
    try {
      return localStorage.getItem("theme") ?? "auto";
    } catch {
      return "auto"; // the browser keeps nothing for this site
    }
  }

  function applyTheme() {
    const chosen = chosenTheme();
    root.dataset.bsTheme = chosen === "light" || chosen === "dark" ? chosen : systemIsDark.matches ? "dark" : "light";
    for (const input of document.querySelectorAll("input[name=theme]")) input.checked = input.value === chosen;
  }

  applyTheme();
  systemIsDark.addEventListener("change", applyTheme);
  addEventListener("storage", applyTheme); // chosen in another window
  document.addEventListener("DOMContentLoaded", applyTheme);
  document.addEventListener("change", (event) => {
    if (!event.target.matches("input[name=theme]")) return;
    try {
      localStorage.setItem("theme", event.target.value);
    } catch {
      // then it holds for this page
    }
    root.dataset.bsTheme = event.target.value;
    applyTheme();
  });

  const clock = { hour: "2-digit", minute: "2-digit", second: "2-digit", timeZoneName: "short" };
  const full = new Intl.DateTimeFormat("en-GB", { year: "numeric", month: "short", day: "numeric", ...clock });
  const brief = new Intl.DateTimeFormat("en-GB", clock);

  function localise(time) {
    const moment = new Date(time.dateTime);
    if (isNaN(moment)) return;
    const text = (time.dataset.show === "clock" ? brief : full).format(moment);
    if (time.textContent === text) return;
    time.title = time.dateTime;
    time.textContent = text;
  }

  // Looks at what is parsed, and later at what a refresh puts in its place, before either is painted.
  new MutationObserver((changes) => {
    const seen = new Set();
    for (const { target, addedNodes } of changes) {
      const around = (target.nodeType === Node.TEXT_NODE ? target.parentElement : target)?.closest("time[datetime]");
      if (around) seen.add(around);
      for (const node of addedNodes) {
        if (node.nodeType !== Node.ELEMENT_NODE) continue;
        if (node.matches("time[datetime]")) seen.add(node);
        for (const time of node.querySelectorAll("time[datetime]")) seen.add(time);
      }
    }
    seen.forEach(localise);
  }).observe(document, { childList: true, subtree: true, characterData: true, attributes: true, attributeFilter: ["datetime"] });
}
