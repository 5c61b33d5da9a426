"use strict";
// Draws the coarse timelines of several runs over each other: a colour a run, as in the tables' heads.
(() => {
  const DATA = JSON.parse(document.getElementById("data").textContent);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const property = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
  const time = (us) => (us >= 1e6 ? +(us / 1e6).toPrecision(3) + " s" : +(us / 1e3).toPrecision(3) + " ms");
  const decades = (u, ticks) => ticks.map((t) => (Math.abs(Math.log10(t) - Math.round(Math.log10(t))) < 1e-9 ? t : null));
  const charts = [];

  const draw = (root, runs, title, unit, column, y) => {
    const figure = document.createElement("figure"), caption = document.createElement("figcaption");
    figure.className = "chart";
    const strong = document.createElement("strong"), says = document.createElement("span");
    strong.textContent = title;
    says.className = "unit";
    says.textContent = unit;
    caption.append(strong, says);
    figure.append(caption);
    root.append(figure);
    const tables = runs.map((run) => (run ? [run.p99.map((_, i) => i * run.width), column(run)] : [[0], [null]]));
    const data = uPlot.join(tables, tables.map(() => [0, 1]));
    const axis = { stroke: () => property("--muted"), font: "11px " + property("--sans"), grid: { stroke: () => property("--grid"), width: 1 }, ticks: { show: false } };
    const chart = new uPlot({
      width: root.clientWidth, height: 150, padding: [6, 2, 0, 0], legend: { show: false },
      cursor: { sync: { key: "phase-" + root.dataset.phase }, y: false, points: { show: false } },
      scales: { x: { time: false }, y: y.scale },
      axes: [{ ...axis, values: (u, ticks) => ticks.map((t) => +t.toFixed(3) + " s"), size: 26 }, { ...axis, ...y.only, size: 70, values: y.values }],
      series: [{}, ...runs.map((_, i) => ({
        stroke: () => property("--c" + (i % 8)), width: 1.5, points: { show: false }, paths: uPlot.paths.stepped({ align: 1 }),
      }))],
    }, data, figure);
    chart.root.setAttribute("role", "img");
    chart.root.setAttribute("aria-label", title + ", " + unit);
    charts.push([chart, root]);
  };

  for (const root of document.querySelectorAll(".timeline")) {
    const runs = DATA.phases[+root.dataset.phase].runs;
    draw(root, runs, "Acknowledged", "operations a second", (run) => run.acked.map((n) => n / run.width),
      { scale: { range: (u, min, max) => [0, Math.max(max, 1) * 1.08] }, values: (u, ticks) => ticks.map((t) => whole.format(t)) });
    draw(root, runs, "99th percentile of latency", "logarithmic", (run) => run.p99.map((us) => us || null),
      { scale: { distr: 3, log: 10 }, values: (u, ticks) => ticks.map((t) => (t === null ? null : time(t))),
        only: { filter: decades, grid: { stroke: () => property("--grid"), width: 1, filter: decades } } });
  }
  addEventListener("resize", () => charts.forEach(([chart, root]) => chart.setSize({ width: root.clientWidth, height: 150 })));
  dark.addEventListener("change", () => charts.forEach(([chart]) => chart.redraw(false, true)));
  document.documentElement.dataset.drawn = charts.length;
})();
