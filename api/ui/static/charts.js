"use strict";

// Draws the charts of a page: each is an element with its figures in data-chart, which change as the page does.
(() => {
  if (!window.Chart) return;
  const charts = new Map(); // by element
  const names = new Intl.DisplayNames(undefined, { type: "region", fallback: "code" });

  function colour(name) {
    const probe = document.createElementNS("http://www.w3.org/2000/svg", "rect");
    probe.setAttribute("class", "fill-" + name);
    const drawing = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    drawing.setAttribute("class", "probe");
    drawing.append(probe);
    document.body.append(drawing);
    const found = getComputedStyle(probe).fill;
    drawing.remove();
    return found;
  }

  function theme() {
    return { text: getComputedStyle(document.body).color, grid: "#8883" }; // a grey that suits light and dark
  }

  // A label as long as the steps need it.
  function label(time, step) {
    const at = new Date(time);
    if (step >= 86_400_000) return at.toLocaleDateString(undefined, { day: "numeric", month: "short" });
    const options = { hour: "2-digit", minute: "2-digit" };
    if (step < 60_000) options.second = "2-digit";
    if (step >= 3_600_000) options.weekday = "short";
    return at.toLocaleString(undefined, options);
  }

  function datasets(figures) {
    return figures.series.map((s) => ({
      label: s.name,
      data: s.counts,
      borderColor: colour(s.colour),
      backgroundColor: colour(s.colour),
      borderWidth: 2,
      pointRadius: figures.times.length < 3 ? 3 : 0,
      pointHitRadius: 8,
      tension: 0.2,
    }));
  }

  function draw(element) {
    let figures;
    try {
      figures = JSON.parse(element.dataset.chart);
    } catch {
      return;
    }
    const labels = figures.times.map((time) => label(time, figures.step));
    let chart = charts.get(element);
    if (chart) {
      chart.data.labels = labels;
      figures.series.forEach((s, i) => { chart.data.datasets[i].data = s.counts; });
      chart.update("none");
      return;
    }
    const canvas = document.createElement("canvas");
    element.replaceChildren(canvas);
    const { text, grid } = theme();
    chart = new Chart(canvas, {
      type: "line",
      data: { labels, datasets: datasets(figures) },
      options: {
        animation: false,
        maintainAspectRatio: false,
        interaction: { mode: "index", intersect: false },
        scales: {
          x: { ticks: { color: text, maxTicksLimit: 6, maxRotation: 0 }, grid: { display: false } },
          y: { beginAtZero: true, ticks: { color: text, precision: 0, maxTicksLimit: 6 }, grid: { color: grid } },
        },
        plugins: { legend: { labels: { color: text, boxWidth: 12, boxHeight: 12 } } },
      },
    });
    charts.set(element, chart);
  }

  function all() {
    for (const [element, chart] of charts) {
      if (element.isConnected) continue;
      chart.destroy();
      charts.delete(element);
    }
    for (const element of document.querySelectorAll("[data-chart]")) draw(element);
    for (const element of document.querySelectorAll("[data-region]")) {
      try {
        element.textContent = names.of(element.dataset.region);
      } catch {
        // no region that the browser knows
      }
    }
  }

  all();
  document.addEventListener("htmx:after:swap", all);
  new MutationObserver(() => {
    for (const chart of charts.values()) chart.destroy();
    charts.clear();
    all();
  }).observe(document.documentElement, { attributeFilter: ["data-bs-theme"] });
})();
