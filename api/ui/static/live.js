"use strict";

// What a live page does beside htmx, which connects, swaps and connects again: tell when its figures are not fresh, notice
// a connection that died without a word, and stay connected only while somebody sees the page.
(() => {
  const live = document.getElementById("live");
  const address = live?.getAttribute("hx-sse:connect");
  if (!address) return;

  const silence = 40_000; // two signs of life were missed, and some
  let connection = null;
  let watchdog = 0;
  let delay = 1_000;

  function stale(yes) {
    document.getElementById("stale").hidden = !yes;
  }

  function alive() {
    clearTimeout(watchdog);
    watchdog = setTimeout(() => {
      stale(true);
      connection?.reader?.cancel(); // htmx connects again
    }, silence);
  }

  // htmx tries again by itself once a stream was there, but not for the first.
  function connect() {
    if (connection || document.hidden) return;
    htmx.ajax("GET", address, { source: live });
  }
  function later() {
    if (connection) return;
    stale(true);
    setTimeout(connect, delay * (0.5 + Math.random()));
    delay = Math.min(2 * delay, 30_000);
  }

  // A page that was opened in the background connects when it is looked at.
  live.addEventListener("htmx:before:request", (event) => {
    if (event.target === live && document.hidden) event.preventDefault();
  });
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) clearTimeout(watchdog);
    else connect();
  });

  live.addEventListener("htmx:sse:after:connection", (event) => {
    connection = event.detail.connection;
    delay = 1_000;
    alive();
  });
  live.addEventListener("htmx:sse:after:message", (event) => {
    alive();
    if (!event.detail.message.event) stale(false);
  });
  live.addEventListener("htmx:sse:error", (event) => {
    stale(true);
    // Whoever was signed out is shown where to sign in.
    if (event.detail.status === 401 || event.detail.status === 403) location.reload();
  });
  live.addEventListener("htmx:sse:close", () => {
    connection = null;
    clearTimeout(watchdog);
  });
  live.addEventListener("stale", () => stale(true));
  live.addEventListener("leave", () => location.reload());
  for (const failure of ["htmx:error", "htmx:response:error"]) {
    live.addEventListener(failure, (event) => {
      if (event.target === live) later();
    });
  }
})();
