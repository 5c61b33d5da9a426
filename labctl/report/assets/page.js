"use strict";
// Draws what the page's JSON holds. Text goes in by textContent only: names, keys and values are data.
(() => {
  const DATA = JSON.parse(document.getElementById("data").textContent);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const style = () => getComputedStyle(document.documentElement);
  let theme = {};
  const readTheme = () => {
    const s = style(), get = (name) => s.getPropertyValue(name).trim();
    theme = { colours: Array.from({ length: 8 }, (_, i) => get("--c" + i)), font: "11px " + get("--sans") };
    for (const name of ["paper", "ink", "muted", "faint", "rule", "grid", "band", "band-edge", "wash"]) theme[name] = get("--" + name);
  };
  readTheme();
  const colourOf = (node) => (node < 0 ? theme.faint : theme.colours[node % theme.colours.length]);
  const nodeNumber = (name) => DATA.nodes.indexOf(name);

  const make = (tag, className, text) => {
    const element = document.createElement(tag);
    if (className) element.className = className;
    if (text !== undefined) element.textContent = text;
    return element;
  };
  const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
  const count = (value) => (value === null || value === undefined ? "–" : whole.format(value));
  const time = (us) => {
    if (us === null || us === undefined) return "–";
    const ms = us / 1000;
    return ms >= 1000 ? (ms / 1000).toPrecision(3) + " s" : ms >= 100 ? whole.format(ms) + " ms" : +ms.toPrecision(3) + " ms";
  };
  const bytes = (value) => {
    if (value === null || value === undefined) return "–";
    const unit = ["B", "kB", "MB", "GB"];
    let i = 0;
    while (value >= 1000 && i < 3) { value /= 1000; i++; }
    return (i ? +value.toPrecision(3) : value) + " " + unit[i];
  };
  const decade = (value) => Math.abs(Math.log10(value) - Math.round(Math.log10(value))) < 1e-9;
  const dense = ([at, counts], length) => {
    const all = new Array(length).fill(0);
    at.forEach((place, i) => { all[place] = counts[i]; });
    return all;
  };
  const orNull = (values) => values.map((value) => value || null);

  // What the lanes' shapes mean, as far as there are lanes of the kind.
  const legend = (lanes) => {
    const some = (kind) => lanes.some((lane) => lane.kind === kind);
    const parts = ["Thick: a primary. Thin: a replica" + (some("sentinel") ? ", or a Sentinel that is content." : "."), "Dotted: link down or no answer."];
    if (some("sentinel")) parts.push("Pale: a Sentinel holds the primary for down; taller once a quorum agrees.");
    if (some("alert")) parts.push("Alert: from when to when it fired.");
    if (some("cluster")) parts.push("Cluster, thick: nodes say that its state is fail.");
    return parts.join(" ");
  };

  // One phase: charts that share a time axis, a cursor and a zoom.
  class Timeline {
    constructor(root, phase, losses) {
      this.root = root;
      this.phase = phase;
      this.losses = losses;
      this.key = uPlot.sync("phase-" + root.dataset.phase);
      this.charts = [];
      this.range = [0, phase.span];
      this.level = null;
      this.busy = false;
      this.levels = phase.levels.map((level) => this.unpack(level));
      this.buttons();
      this.lanes();
      this.load();
      this.lag();
      this.measured();
      this.pickLevel(true);
    }

    unpack(level) {
      const length = level.median.length;
      const at = Array.from({ length: length + 1 }, (_, i) => Math.min(i * level.width, this.phase.span));
      const rate = (counts) => [...counts.map((n) => n / level.width), null];
      // A line falls to zero and rises from it, and is not drawn along it.
      const sparing = (counts) => rate(counts).map((n, i) => (n || counts[i - 1] || counts[i + 1] ? n : null));
      const names = Object.keys(level.acked);
      const total = level.median.map((_, i) => names.reduce((sum, name) => sum + level.acked[name][i], 0));
      const refused = dense(level.refused, length), unknown = dense(level.unknown, length), lost = dense(level.lost, length);
      const latency = (values) => [...orNull(values), null];
      const stretch = 0.1;
      return {
        width: level.width,
        throughput: [
          at, level.fastest ? [...level.fastest.map((n) => n / stretch), null] : rate(total),
          level.slowest ? [...level.slowest.map((n) => n / stretch), null] : rate(total),
          ...names.map((name) => sparing(level.acked[name])),
        ],
        latency: [at, latency(level.most), latency(level.least), latency(level.p99), latency(level.median)],
        errors: [at, rate(refused.map((n, i) => n + unknown[i])), rate(refused)],
        lost: [at, [...lost, null]],
      };
    }

    buttons() {
      const bar = make("div", "zoom");
      bar.append(make("span", "", "Show"));
      const add = (label, from, to) => {
        const button = make("button", "", label);
        button.type = "button";
        button.addEventListener("click", () => this.zoom(from, to));
        button.range = [from, to];
        bar.append(button);
      };
      add("the whole phase", 0, this.phase.span);
      for (const [from, to, name] of this.phase.faults.slice(0, 6)) {
        const end = to === null ? this.phase.span : to, margin = Math.max(0.5, (end - from) * 0.15);
        add(name, Math.max(0, from - margin), Math.min(this.phase.span, end + margin));
      }
      const turn = this.phase.moments.find(([at, kind, text]) => kind === "role" && at > 0.05 && / is primary/.test(text));
      if (turn) add("the first change of primary", Math.max(0, turn[0] - 2), Math.min(this.phase.span, turn[0] + 2));
      bar.append(make("span", "hint", "drag or pinch to zoom, double-click for all"));
      this.bar = bar;
      this.root.append(bar);
    }

    figure(title, unit, keys) {
      const figure = make("figure", "chart"), caption = make("figcaption");
      caption.append(make("strong", "", title), make("span", "unit", unit));
      const values = keys.map(([label, swatch, colour]) => {
        const key = make("span", "key"), mark = make("i", swatch);
        if (colour) mark.classList.add("c" + (colour.node % 8));
        const value = make("b", "", "");
        key.append(mark, document.createTextNode(label), value);
        caption.append(key);
        return value;
      });
      figure.append(caption);
      this.root.append(figure);
      return { figure, values };
    }

    gutter() { return this.root.clientWidth < 520 ? 62 : 78; }

    chart(holder, { height, series, scales, yAxis, bands, data, read, hooks, name, label }) {
      const axis = (more) => ({
        stroke: () => theme.muted, font: theme.font, grid: { stroke: () => theme.grid, width: 1 },
        ticks: { show: false }, ...more,
      });
      const options = {
        width: this.root.clientWidth, height, bands,
        padding: [6, 10, 0, 0],
        legend: { show: false },
        cursor: {
          sync: { key: this.key.key, setSeries: false }, drag: { x: true, y: false, setScale: false },
          points: { show: false }, y: false,
        },
        scales: { x: { time: false, min: 0, max: this.phase.span }, ...scales },
        axes: [
          axis({ values: (u, ticks) => ticks.map((t) => +t.toFixed(3) + " s"), size: 26, gap: 4, space: 64 }),
          axis({ size: this.gutter(), gap: 6, space: 26, ...yAxis }),
        ],
        series: [{}, ...series],
        hooks: {
          drawClear: [(u) => this.drawFaults(u)],
          setSelect: [(u) => {
            if (u.select.width < 4) return;
            const from = u.posToVal(u.select.left, "x"), to = u.posToVal(u.select.left + u.select.width, "x");
            u.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
            this.zoom(from, to);
          }],
          setCursor: [(u) => read && read(u)],
          ready: [(u) => this.gestures(u)],
          ...hooks,
        },
      };
      const chart = new uPlot(options, data, holder);
      chart.root.setAttribute("role", "img");
      chart.root.setAttribute("aria-label", label);
      chart.bucketed = name;
      this.charts.push(chart);
      return chart;
    }

    drawFaults(u) {
      const { ctx, bbox } = u;
      ctx.save();
      ctx.beginPath();
      ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
      ctx.clip();
      for (const [from, to] of this.phase.faults) {
        const left = u.valToPos(from, "x", true), right = u.valToPos(to === null ? this.phase.span : to, "x", true);
        ctx.fillStyle = theme.band;
        ctx.fillRect(left, bbox.top, Math.max(right - left, 1), bbox.height);
        ctx.fillStyle = theme["band-edge"];
        ctx.fillRect(left, bbox.top, devicePixelRatio, bbox.height);
        if (to !== null) ctx.fillRect(right, bbox.top, devicePixelRatio, bbox.height);
      }
      ctx.restore();
    }

    gestures(u) {
      u.over.addEventListener("dblclick", () => this.zoom(0, this.phase.span));
      const fingers = new Map();
      let began = null;
      const move = (event) => {
        if (!fingers.has(event.pointerId)) return;
        fingers.set(event.pointerId, event.clientX);
        const left = u.over.getBoundingClientRect().left;
        if (fingers.size === 1) {
          this.charts.forEach((chart) => chart.setCursor({ left: event.clientX - left, top: 4 }, true));
          return;
        }
        const [a, b] = [...fingers.values()];
        const width = Math.max(Math.abs(a - b), 20), middle = (a + b) / 2 - left;
        if (!began) { began = { width, at: u.posToVal(middle, "x"), span: this.range[1] - this.range[0] }; return; }
        const span = Math.min(began.span * began.width / width, this.phase.span);
        const from = began.at - span * middle / u.over.clientWidth;
        this.zoom(from, from + span);
      };
      const end = (event) => { fingers.delete(event.pointerId); began = null; };
      u.over.addEventListener("pointerdown", (event) => {
        if (event.pointerType === "touch") { fingers.set(event.pointerId, event.clientX); began = null; }
      });
      u.over.addEventListener("pointermove", move);
      u.over.addEventListener("pointerup", end);
      u.over.addEventListener("pointercancel", end);
    }

    zoom(from, to) {
      const least = 0.05;
      if (to - from < least) { const middle = (from + to) / 2; from = middle - least / 2; to = middle + least / 2; }
      this.range = [Math.max(0, from), Math.min(this.phase.span, to)];
      this.pickLevel(false);
    }

    // The finest buckets that are still told apart.
    pickLevel(first) {
      const [from, to] = this.range, pixels = Math.max(this.root.clientWidth - this.gutter(), 100);
      const fits = this.levels.filter((level) => (to - from) / level.width <= pixels / 1.5);
      const level = fits.length ? fits[fits.length - 1] : this.levels[0];
      const changed = level !== this.level;
      this.level = level;
      for (const chart of this.charts) {
        chart.batch(() => {
          if (chart.bucketed && (changed || first)) chart.setData(level[chart.bucketed], false);
          chart.setScale("x", { min: from, max: to });
        });
      }
      for (const button of this.bar.querySelectorAll("button")) {
        const same = Math.abs(button.range[0] - from) < 1e-6 && Math.abs(button.range[1] - to) < 1e-6;
        button.setAttribute("aria-pressed", same);
      }
    }

    lanes() {
      const { lanes, moments } = this.phase, row = 22, top = 32;
      if (!lanes.length) return;
      const sends = lanes.some((lane) => lane.kind === "sentinel") ? ", where a Sentinel sends clients" : "";
      const { figure } = this.figure("Who was what", "colour is the primary: who acknowledged, whom a replica follows" + sends, []);
      this.legend = legend(lanes);
      const readout = make("p", "readout", this.legend);
      const height = top + lanes.length * row + 30;
      const yOf = (u, index) => u.bbox.top + (top + index * row) * devicePixelRatio;
      const draw = (u) => {
        const { ctx, bbox } = u, px = devicePixelRatio;
        ctx.save();
        ctx.font = 11 * px + "px " + style().getPropertyValue("--sans");
        ctx.textBaseline = "middle";
        lanes.forEach((lane, index) => {
          const middle = yOf(u, index) + row * px / 2;
          ctx.textAlign = "right";
          ctx.fillStyle = theme.muted;
          if (lane.kind === "alert") ctx.fillText("alert", bbox.left - 8 * px, middle);
          else ctx.fillText(lane.name.replace(/^sentinel-/, this.gutter() < 70 ? "sent. " : "sentinel-"), bbox.left - 8 * px, middle);
        });
        ctx.beginPath();
        ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
        ctx.clip();
        lanes.forEach((lane, index) => {
          const middle = yOf(u, index) + row * px / 2;
          for (const span of lane.spans) this.drawSpan(u, span, middle, px);
          if (lane.kind === "alert") this.drawName(u, lane, middle, px);
        });
        this.drawMoments(u, moments, px);
        ctx.restore();
      };
      const chart = this.chart(figure, {
        height, label: "Lanes: the state of clients, nodes and Sentinels over time; as a table below",
        series: [{ show: false }], data: [[0, this.phase.span], [0, 0]],
        scales: { y: { range: [0, 1] } }, yAxis: { values: () => [], grid: { show: false } },
        hooks: { draw: [draw] },
        read: (u) => this.readLanes(u, readout, { row, top }),
      });
      chart.setSize({ width: this.root.clientWidth, height });
      figure.append(readout);
    }

    // The name of an alert, too long for the margin: behind a span that leaves room for it, or before the first one.
    drawName(u, { name, spans }, middle, px) {
      const { ctx, bbox } = u, gap = 6 * px, x = (at) => u.valToPos(at, "x", true);
      if (!spans.length) return;
      const needed = 2 * gap + ctx.measureText(name).width;
      const next = (i) => (i + 1 < spans.length ? x(spans[i + 1][0]) : bbox.left + bbox.width);
      const free = spans.findIndex((span, i) => next(i) - x(span[1]) >= needed);
      ctx.fillStyle = theme.muted;
      ctx.textAlign = free < 0 ? "right" : "left";
      ctx.fillText(name, free < 0 ? x(spans[0][0]) - gap : x(spans[free][1]) + gap, middle);
    }

    drawSpan(u, [from, to, node, state], middle, px) {
      const { ctx } = u, left = u.valToPos(from, "x", true), right = u.valToPos(to, "x", true);
      const width = Math.max(right - left, px), colour = state === "ok" ? theme.faint : state === "fail" || state === "firing" ? theme.ink : colourOf(node);
      const bar = (height, alpha) => {
        ctx.globalAlpha = alpha;
        ctx.fillStyle = colour;
        ctx.fillRect(left, middle - height * px / 2, width, height * px);
        ctx.globalAlpha = 1;
      };
      const dots = (step) => {
        ctx.fillStyle = colour;
        for (let x = Math.max(left, u.bbox.left - step * px); x < Math.min(right, u.bbox.left + u.bbox.width); x += step * px) {
          ctx.fillRect(x, middle - px, Math.min(2 * px, right - x), 2 * px);
        }
      };
      if (state === "primary") bar(14, 1);
      else if (state === "answered") bar(9, 1);
      else if (state === "replica" || state === "sure" || state === "ok") bar(3, 0.75);
      else if (state === "suspects") { bar(3, 0.75); bar(9, 0.3); }
      else if (state === "firing") bar(8, 0.6);
      else if (state === "agreed" || state === "fail") { bar(3, 0.75); bar(14, 0.4); }
      else if (state === "detached" || state === "tilt") dots(6);
      else if (state === "down") { ctx.globalAlpha = 0.6; dots(9); ctx.globalAlpha = 1; }
    }

    drawMoments(u, moments, px) {
      const { ctx, bbox } = u, base = bbox.top + 28 * px;
      for (const [at, kind] of moments) {
        const x = u.valToPos(at, "x", true);
        ctx.fillStyle = kind === "role" || kind.startsWith("fault") ? theme.ink : theme.faint;
        const tall = kind.startsWith("fault") ? 9 : kind === "role" ? 7 : 4;
        ctx.fillRect(x, base - tall * px, 1.5 * px, tall * px);
      }
      ctx.textAlign = "left";
      ctx.fillStyle = theme.muted;
      let free = -Infinity;
      for (const [from, to, name] of this.phase.faults) {
        const left = Math.max(u.valToPos(from, "x", true), bbox.left) + 4 * px, width = ctx.measureText(name).width;
        const end = u.valToPos(to === null ? this.phase.span : to, "x", true);
        if (left > free && end > bbox.left && left + width < bbox.left + bbox.width) {
          ctx.fillText(name, left, bbox.top + 9 * px);
          free = left + width + 8 * px;
        }
      }
    }

    readLanes(u, readout, { row, top }) {
      const { left, top: y } = u.cursor;
      if (left === undefined || left < 0) { readout.textContent = this.legend; return; }
      readout.replaceChildren();
      const at = u.posToVal(left, "x"), near = 6 * (this.range[1] - this.range[0]) / u.over.clientWidth;
      readout.append(make("b", "", at.toFixed(2) + " s"));
      const events = this.phase.moments.filter(([t]) => Math.abs(t - at) <= near).slice(0, 3);
      const lane = this.phase.lanes[Math.floor((y - top) / row)];
      const span = u.root.matches(":hover") && lane && lane.spans.find(([from, to]) => from <= at && at <= to);
      const said = events.map(([t, , text]) => t.toFixed(2) + " s " + text);
      if (span) said.unshift(lane.name + ": " + span[4]);
      readout.append(document.createTextNode(said.length ? "  " + said.join(" · ") : ""));
    }

    load() {
      const step = uPlot.paths.stepped({ align: 1 });
      const names = Object.keys(this.phase.levels[0].acked);
      if (!names.length) { this.errors(step); return; }
      const readAt = (values, show) => (u) => {
        const i = u.cursor.idx;
        values.forEach((value, k) => { value.textContent = i === null || i === undefined ? "" : show(u.data[k + 1][i]); });
      };
      const throughput = this.figure("Acknowledged", "operations a second",
        names.map((name) => [name, "", { node: Math.max(nodeNumber(name), 0) }]));
      this.chart(throughput.figure, {
        name: "throughput", height: 130, data: this.levels[0].throughput, label: "Acknowledged operations a second by node",
        scales: { y: { range: (u, min, max) => [0, Math.max(max, 1) * 1.08] } },
        yAxis: { values: (u, ticks) => ticks.map(count) },
        bands: [{ series: [1, 2], fill: () => theme.wash }],
        series: [
          { paths: step, width: 0, points: { show: false } }, { paths: step, width: 0, points: { show: false } },
          ...names.map((name) => ({
            paths: step, width: 1.5, stroke: () => colourOf(nodeNumber(name)), points: { show: false },
          })),
        ],
        read: (u) => readAt(throughput.values, count)({ cursor: u.cursor, data: [u.data[0], ...u.data.slice(3)] }),
      });
      const latency = this.figure("Latency", "of acknowledged operations, logarithmic",
        [["longest and shortest", "wash"], ["99th percentile", "line soft"], ["median", "line"]]);
      this.chart(latency.figure, {
        name: "latency", height: 150, data: this.levels[0].latency, label: "Latency of acknowledged operations: shortest, median, 99th percentile, longest",
        scales: { y: { distr: 3, log: 10 } },
        yAxis: {
          values: (u, ticks) => ticks.map((t) => (t === null ? null : time(t))),
          filter: (u, ticks) => ticks.map((t) => (decade(t) ? t : null)),
          grid: { stroke: () => theme.grid, width: 1, filter: (u, ticks) => ticks.map((t) => (decade(t) ? t : null)) },
        },
        bands: [{ series: [1, 2], fill: () => theme.wash }],
        series: [
          { paths: step, width: 1, stroke: () => theme.wash, points: { show: false } },
          { paths: step, width: 1, stroke: () => theme.wash, points: { show: false } },
          { paths: step, width: 1.25, stroke: () => theme.faint, points: { show: false } },
          { paths: step, width: 1.5, stroke: () => theme.ink, points: { show: false } },
        ],
        read: (u) => {
          const i = u.cursor.idx, d = u.data, none = i === null || i === undefined || d[1][i] === null || d[1][i] === undefined;
          latency.values[0].textContent = none ? "" : time(d[2][i]) + " – " + time(d[1][i]);
          latency.values[1].textContent = none ? "" : time(d[3][i]);
          latency.values[2].textContent = none ? "" : time(d[4][i]);
        },
      });
      this.errors(step);
      if (this.phase.losses.total) this.lost(step);
    }

    errors(step) {
      const wrong = this.phase.levels[0];
      if (wrong.refused[0].length || wrong.unknown[0].length) {
        const errors = this.figure("Not acknowledged", "operations a second", [["refused", ""], ["unknown outcome", "soft"]]);
        this.chart(errors.figure, {
          name: "errors", height: 100, data: this.levels[0].errors, label: "Operations a second that were refused or whose outcome is unknown",
          scales: { y: { range: (u, min, max) => [0, Math.max(max, 1) * 1.08] } },
          yAxis: { values: (u, ticks) => ticks.map(count) },
          series: [
            { paths: step, width: 0, fill: () => theme.faint, points: { show: false } },
            { paths: step, width: 0, fill: () => theme.ink, points: { show: false } },
          ],
          read: (u) => {
            const i = u.cursor.idx, none = i === null || i === undefined;
            errors.values[0].textContent = none ? "" : count(u.data[2][i]);
            errors.values[1].textContent = none ? "" : count(u.data[1][i] - u.data[2][i]);
          },
        });
      }
    }

    lost(step) {
      const { losses } = this.phase, node = nodeNumber(losses.groups.length ? losses.groups[0][0] : "");
      const lost = this.figure("Lost", "acknowledged writes that are gone, where they were acknowledged; click for their stories", [["writes", "", { node: Math.max(node, 0) }]]);
      const chart = this.chart(lost.figure, {
        name: "lost", height: 90, data: this.levels[0].lost, label: "Lost writes by the time of their acknowledgement",
        scales: { y: { range: (u, min, max) => [0, Math.max(max, 1) * 1.08] } },
        yAxis: { values: (u, ticks) => ticks.map((t) => (t % 1 ? "" : count(t))) },
        series: [{ paths: step, width: 0, fill: () => colourOf(node), points: { show: false } }],
        read: (u) => {
          const i = u.cursor.idx;
          lost.values[0].textContent = i === null || i === undefined ? "" : count(u.data[1][i]);
        },
      });
      lost.figure.classList.add("clickable");
      chart.over.addEventListener("click", () => {
        if (chart.cursor.left === undefined || chart.cursor.left < 0) return;
        const at = chart.posToVal(chart.cursor.left, "x"), width = this.level.width;
        const from = Math.floor(at / width) * width;
        this.losses.show(from, from + width);
      });
    }

    lag() {
      const { lag } = this.phase;
      if (!Object.values(lag).some(([, behind]) => behind.some((n) => n > 0))) return;
      this.nodeLines("Replication lag", "bytes behind the primary, as polled", lag, bytes, "Bytes that each replica was behind its primary");
    }

    measured() {
      const units = { bytes: ["as Prometheus scraped it", bytes], number: ["as Prometheus scraped it", count], rate: ["a second, from scrape to scrape", count] };
      for (const { title, unit, nodes } of this.phase.measured) {
        const [words, format] = units[unit];
        this.nodeLines(title, words, nodes, format, title + " of each node, " + words);
      }
    }

    // A line for each node, through the moments at which it was looked at.
    nodeLines(title, words, curves, format, label) {
      const names = Object.keys(curves);
      const times = [...new Set(names.flatMap((name) => curves[name][0]))].sort((a, b) => a - b);
      const columns = names.map((name) => {
        const known = new Map(curves[name][0].map((t, i) => [t, curves[name][1][i]]));
        return times.map((t) => (known.has(t) ? known.get(t) : null));
      });
      const holder = this.figure(title, words, names.map((name) => [name, "", { node: Math.max(nodeNumber(name), 0) }]));
      this.chart(holder.figure, {
        height: 110, data: [times, ...columns], label,
        scales: { y: { range: (u, min, max) => [0, Math.max(max, 1) * 1.08] } },
        yAxis: { values: (u, ticks) => ticks.map(format) },
        series: names.map((name) => ({ width: 1.5, stroke: () => colourOf(nodeNumber(name)), points: { show: false } })),
        read: (u) => holder.values.forEach((value, k) => {
          const i = u.cursor.idx;
          value.textContent = i === null || i === undefined ? "" : format(u.data[k + 1][i]);
        }),
      });
    }

    resize() {
      for (const chart of this.charts) {
        chart.axes[1].size = () => this.gutter();
        chart.setSize({ width: this.root.clientWidth, height: chart.height });
      }
      this.pickLevel(false);
    }

    redraw() { for (const chart of this.charts) chart.redraw(false, true); }
  }

  // The stories of lost writes: those of a stretch of time that was clicked.
  class Losses {
    constructor(root, phase) { this.root = root; this.losses = phase.losses; }

    show(from, to) {
      if (!this.root) return;
      const { acked } = this.losses, found = [];
      for (let i = 0; i < acked.length; i++) if (acked[i] >= from && acked[i] < to) found.push(i);
      const list = this.root.querySelector(".lost"), most = 60;
      const said = found.length ? `acknowledged between ${from.toFixed(2)} and ${to.toFixed(2)} s` : `None of those listed here was acknowledged between ${from.toFixed(2)} and ${to.toFixed(2)} s.`;
      this.root.querySelector(".chosen").textContent = found.length ? (found.length > most ? `The first ${most} of ${count(found.length)} ` : `${count(found.length)} `) + said : said;
      list.replaceChildren(...found.slice(0, most).map((i, place) => this.item(i, place === 0)));
      this.root.scrollIntoView({ block: "nearest" });
    }

    item(i, open) {
      const l = this.losses, [node, story] = l.groups[l.group[i]];
      const item = make("li"), details = make("details"), summary = make("summary");
      details.open = open;
      summary.append(make("span", "when", l.acked[i].toFixed(3) + " s"), document.createTextNode(" "), make("code", "", l.value[i]),
        document.createTextNode(" in "), make("code", "", l.keys[l.key[i]]));
      const offset = l.after[i] !== null && l.before[i] !== null
        ? `, at a replication offset between ${count(l.after[i])} and ${count(l.before[i])}` : "";
      details.append(summary, make("p", "", `Client ${l.process[i]} sent it at ${l.sent[i].toFixed(6)} s; ${node} acknowledged it at ${l.acked[i].toFixed(6)} s${offset}. ${story}`));
      item.append(details);
      return item;
    }
  }

  const timelines = [...document.querySelectorAll(".timeline")].map((root) => {
    const phase = DATA.phases[+root.dataset.phase], section = root.closest("section");
    const timeline = new Timeline(root, phase, new Losses(section.querySelector(".losses"), phase));
    for (const link of section.querySelectorAll("a[data-at]")) {
      link.addEventListener("click", () => { const at = +link.dataset.at; timeline.zoom(at - 1.5, at + 1.5); });
    }
    return timeline;
  });
  let width = innerWidth;
  addEventListener("resize", () => {
    if (innerWidth === width) return; // a phone's address bar comes and goes
    width = innerWidth;
    timelines.forEach((timeline) => timeline.resize());
  });
  dark.addEventListener("change", () => { readTheme(); timelines.forEach((timeline) => timeline.redraw()); });
  document.documentElement.dataset.drawn = timelines.reduce((sum, timeline) => sum + timeline.charts.length, 0);
})();
