// The picture as SVG: cards that glide to their places, and the lines between them.

const SVG = "http://www.w3.org/2000/svg";
const GLIDE_MS = 700;
const CURVE_LEFT = 150;
const still = matchMedia("(prefers-reduced-motion: reduce)");

/** An SVG element with attributes. */
function svg(name, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function setClass(element, text) {
  if (element.getAttribute("class") !== text) element.setAttribute("class", text);
}

const UNITS = [[1e9, "G"], [1e6, "M"], [1e3, "k"]];

/** 950, 12.3k, 1.2M */
function count(value) {
  for (const [limit, unit] of UNITS) {
    if (value >= limit * 0.9995) {
      const scaled = value / limit;
      return (scaled < 99.95 ? scaled.toFixed(1) : scaled.toFixed(0)) + unit;
    }
  }
  return Math.round(value).toString();
}

function size(bytes) {
  const text = count(bytes);
  return /[kMG]$/.test(text) ? `${text.slice(0, -1)} ${text.slice(-1)}B` : `${text} B`;
}

function milliseconds(ms) {
  if (ms >= 999.5) return `${(ms / 1000).toFixed(1)} s`;
  return ms < 9.995 ? `${ms.toFixed(2)} ms` : `${ms.toFixed(0)} ms`;
}

/** Path data of a curve in a box; where there is no value the line is broken. `ground` closes it down to zero. */
function curvePath(values, w, h, least, ground = false) {
  const known = values.filter((value) => value !== null && value >= 0);
  const top = Math.max(least, ...known);
  const step = w / Math.max(1, SHOWN_SAMPLES - 1);
  let path = "";
  let last = null;
  const end = () => {
    if (ground && last !== null) path += `V${h}Z`;
    last = null;
  };
  values.forEach((value, index) => {
    if (value === null || value < 0) {
      end();
      return;
    }
    const x = (w - (values.length - 1 - index) * step).toFixed(1);
    const y = (h - (value / top) * h).toFixed(1);
    path += last === null ? (ground ? `M${x} ${h}V${y}` : `M${x} ${y}`) : `L${x} ${y}`;
    last = x;
  });
  end();
  return path;
}

/** Put a curve into a group of two paths: the area below it, and its line. */
function drawCurve(group, values, w, h, least) {
  group.firstElementChild.setAttribute("d", curvePath(values, w, h, least, true));
  group.lastElementChild.setAttribute("d", curvePath(values, w, h, least));
}

/** The two paths of a curve. */
const makeCurve = () => svg("g", { class: "curve" }, svg("path", { class: "area" }), svg("path", { class: "stroke" }));

const SHOWN_SAMPLES = 90;
const shown = (curves, name) => (curves.get(name) || []).slice(-SHOWN_SAMPLES);

const ABSENT = { hung: "does not answer", paused: "paused", down: "down" };
const ABSENT_SHORT = { hung: "silent", paused: "paused", down: "down" };

/** What stands on a card: a badge, two lines, and whether the second is bad news. */
function cardWords(node, edge) {
  const trouble = node.reach ? `✂ ${node.reach}` : edge ? edgeWords(edge) : "";
  if (node.condition in ABSENT) {
    const was = node.role === "primary" ? "was the primary" : node.follows ? `followed ${node.follows}` : "";
    return { badge: ABSENT[node.condition], first: was, second: trouble || node.note, bad: true };
  }
  const badge = node.condition === "loading" ? `${node.role}, loading` : node.role;
  if (node.role === "primary") {
    const has = [];
    if (node.slots) has.push(`slots ${node.slots}`);
    if (node.epoch) has.push(`epoch ${node.epoch}`);
    has.push(`${count(node.keys)} keys`);
    return { badge, first: `${count(node.ops_per_s)} op/s`, second: trouble || has.join(" · "), bad: Boolean(trouble) };
  }
  const links = { down: "link to its primary is down", sync: "loads a full copy" };
  const first = `lag ${node.lag_bytes === null ? "?" : size(node.lag_bytes)}`;
  const second = trouble || links[node.link] || `follows ${node.follows}`;
  return { badge, first, second, bad: Boolean(trouble) || node.link === "down" };
}

/** As much of a card's words as a small card has room for. */
function fewWords(words, node) {
  const absent = node.condition in ABSENT;
  return { ...words, badge: ABSENT_SHORT[node.condition] || node.role, first: absent ? "" : words.first, second: words.bad && !absent ? words.second : "" };
}

/** What stands on a Sentinel's card. */
function watcherWords(node) {
  if (node.condition in ABSENT || !node.belief) {
    return { badge: ABSENT[node.condition] || "sentinel", first: "", second: node.note || "watches nothing", bad: true };
  }
  const belief = node.belief;
  const words = [...belief.words];
  if (!belief.quorum_ok) words.push("no quorum");
  const vote = belief.vote ? ` · vote: ${belief.vote}` : "";
  const second = words.length ? words.join(" ") : node.reach ? `✂ ${node.reach}` : `epoch ${belief.epoch}${vote}`;
  return { badge: "sentinel", first: `→ ${belief.primary}`, second, bad: words.length > 0 || Boolean(node.reach) };
}

const LINK_WORDS = { open: "", blackhole: "✂ link cut", refused: "⊘ link refuses" };

function edgeWords(edge) {
  return [LINK_WORDS[edge.state], ...edge.toxics.map((toxic) => `≈ ${toxic}`)].filter(Boolean).join(", ");
}

const cutEdge = (edge) => edge.state !== "open" || edge.back !== "open";

/** Draws into one `<svg>`; keeps what it made, and moves it. */
class Drawing {
  constructor(root, onChoose) {
    this.root = root;
    this.onChoose = onChoose;
    this.lines = root.appendChild(svg("g", { class: "lines" }));
    this.cards = root.appendChild(svg("g", { class: "cards" }));
    this.marks = root.appendChild(svg("g", { class: "marks" }));
    this.byName = new Map();
    this.byLine = new Map();
    this.at = new Map();
    this.moving = 0;
  }

  /** Show a frame. `curves`: name → values; `pings`: "group:node" → ping. */
  show(frame, curves, pings, room) {
    const picture = frame.picture;
    const plan = layout(picture, room);
    this.plan = plan;
    this.root.classList.toggle("dense", plan.dense);
    this.drawCards(picture, curves, pings);
    this.glide(plan);
    this.drawEdges(picture, pings, plan.dense);
    this.root.setAttribute("aria-label", describe(picture));
  }

  drawCards(picture, curves, pings) {
    const links = new Map(picture.edges.filter((e) => e.kind === "replication").map((e) => [e.source, e]));
    const wanted = new Set();
    const nodes = picture.shards.flatMap((shard) => shard.nodes);
    for (const node of nodes) {
      wanted.add(node.name);
      const absent = node.condition in ABSENT;
      const curve = absent ? "" : node.role === "primary" ? `ops:${node.name}` : `lag:${node.name}`;
      const least = node.role === "primary" ? 10 : 1000;
      this.card(node, cardWords(node, links.get(node.name)), shown(curves, curve), least);
    }
    for (const node of picture.sentinels) {
      wanted.add(node.name);
      this.card(node, watcherWords(node), [], 1);
    }
    for (const group of picture.groups) {
      wanted.add(group);
      this.pill(group, [...pings.values()].filter((ping) => ping.group === group));
    }
    for (const [name, element] of this.byName) {
      if (!wanted.has(name)) {
        element.group.remove();
        this.byName.delete(name);
      }
    }
  }

  make(name, kind) {
    let made = this.byName.get(name);
    if (made) return made;
    const group = svg("g", { "data-name": name, tabindex: "-1" });
    made = { group, kind };
    group.append((made.box = svg("rect", { class: "box", rx: 14 })));
    group.append((made.curve = makeCurve()));
    for (const part of ["title", "badge", "first", "second"]) {
      group.append((made[part] = svg("text", { class: part })));
    }
    group.append((made.plate = svg("rect", { class: "plate", rx: 8, height: 24 })), (made.fault = svg("text", { class: "fault" })));
    group.addEventListener("click", () => this.onChoose(name));
    this.cards.append(group);
    this.byName.set(name, made);
    return made;
  }

  card(node, said, values, least) {
    const words = this.plan.dense ? fewWords(said, node) : said;
    const made = this.make(node.name, "card");
    const place = this.plan.places[node.name];
    const role = node.role;
    const held = node.faults.length ? " held" : "";
    setClass(made.group, `card ${role} is-${node.condition}${node.former ? " former" : ""}${held}`);
    made.group.dataset.role = role;
    made.group.dataset.condition = node.condition;
    sizeBox(made.box, place);
    setText(made.title, node.name);
    setText(made.badge, words.badge.toUpperCase());
    setText(made.first, words.first);
    made.second.classList.toggle("bad", words.bad);
    if (this.plan.dense) setText(made.second, shorten(words.second, 18));
    else fitText(made.second, words.second, place.w - 40);
    const tag = node.faults.length ? `fault ${node.faults.join(", ")}` : "";
    setText(made.fault, tag);
    made.plate.setAttribute("width", tag ? 16 + tag.length * 8.6 : 0);
    made.plate.setAttribute("x", place.w - 32 - tag.length * 8.6);
    made.plate.setAttribute("y", place.h - 12);
    arrange(made, place, this.plan.dense, role === "sentinel");
    drawCurve(made.curve, this.plan.dense ? [] : values, place.w - CURVE_LEFT - 20, 36, least);
    made.curve.setAttribute("transform", `translate(${CURVE_LEFT} ${place.h - 90})`);
  }

  pill(group, pings) {
    const made = this.make(group, "pill");
    const place = this.plan.places[group];
    const silent = pings.filter((ping) => ping.ms === null);
    const answered = pings.filter((ping) => ping.ms !== null).map((ping) => ping.ms);
    const state = !pings.length ? "" : !answered.length ? " silent" : silent.length ? " partly" : " well";
    setClass(made.group, `pill${state}`);
    sizeBox(made.box, place);
    setText(made.title, group);
    const words = answered.length ? `PING ${milliseconds(Math.max(...answered))}` : "";
    const error = silent.length ? `${silent.length > 1 ? silent.length + " × " : ""}${silent[0].error}` : "";
    setText(made.first, [words, error].filter(Boolean).join(" · "));
    made.title.setAttribute("x", place.w / 2);
    made.title.setAttribute("y", 26);
    made.first.setAttribute("x", place.w / 2);
    made.first.setAttribute("y", 50);
  }

  /** Bring every card to its place, at once the first time and by and by afterwards. */
  glide(plan) {
    const from = new Map(this.at);
    const targets = Object.entries(plan.places);
    const moved = targets.some(([name, place]) => {
      const now = from.get(name);
      return now && (Math.abs(now.x - place.x) > 1 || Math.abs(now.y - place.y) > 1);
    });
    const box = `0 0 ${plan.w.toFixed(0)} ${plan.h.toFixed(0)}`;
    if (this.root.getAttribute("viewBox") !== box) this.root.setAttribute("viewBox", box);
    if (!moved || still.matches) {
      if (!this.moving) targets.forEach(([name, place]) => this.moveTo(name, place));
      if (!moved) return;
    }
    const key = JSON.stringify(plan.places);
    if (this.goal === key && this.moving) return;
    this.goal = key;
    cancelAnimationFrame(this.moving);
    const began = performance.now();
    const step = (now) => {
      const part = still.matches ? 1 : Math.min(1, (now - began) / GLIDE_MS);
      const eased = part < 0.5 ? 4 * part ** 3 : 1 - (-2 * part + 2) ** 3 / 2;
      for (const [name, place] of targets) {
        const start = from.get(name) || place;
        this.moveTo(name, { ...place, x: start.x + (place.x - start.x) * eased, y: start.y + (place.y - start.y) * eased });
      }
      this.routeEdges();
      this.moving = part < 1 ? requestAnimationFrame(step) : 0;
    };
    this.moving = requestAnimationFrame(step);
  }

  moveTo(name, place) {
    this.at.set(name, place);
    const made = this.byName.get(name);
    if (made) made.group.setAttribute("transform", `translate(${place.x.toFixed(1)} ${place.y.toFixed(1)})`);
  }

  drawEdges(picture, pings, dense) {
    const nodes = new Map(picture.shards.flatMap((s) => s.nodes).concat(picture.sentinels).map((n) => [n.name, n]));
    const kept = new Set();
    for (const edge of picture.edges) {
      const faulty = cutEdge(edge) || edge.toxics.length > 0;
      if (!faulty && ((dense && edge.kind === "clients") || (!this.plan.beside && edge.kind === "watch"))) continue;
      const key = `${edge.kind} ${edge.source} ${edge.target}`;
      kept.add(key);
      let line = this.byLine.get(key);
      if (!line) {
        line = { path: svg("path", { "data-edge": key }), label: svg("g", { class: "label" }) };
        line.label.append((line.plate = svg("rect", { rx: 9, height: 26 })), (line.text = svg("text", { y: 5 })));
        this.lines.append(line.path);
        this.marks.append(line.label);
        this.byLine.set(key, line);
      }
      line.edge = edge;
      const ping = pings.get(`${edge.source}:${edge.target}`);
      setClass(line.path, `edge ${edge.kind} ${edgeState(edge, nodes, ping)}`);
      const [from, to] = [this.plan.places[edge.source], this.plan.places[edge.target]];
      const tight = dense || (edge.kind === "replication" && Boolean(from && to) && isBehind(from, to));
      this.label(line, edgeLabel(edge, tight));
    }
    for (const [key, line] of this.byLine) {
      if (!kept.has(key)) {
        line.path.remove();
        line.label.remove();
        this.byLine.delete(key);
      }
    }
    this.routeEdges();
  }

  label(line, text) {
    setText(line.text, text);
    line.label.style.display = text ? "" : "none";
    setClass(line.label, `label ${cutEdge(line.edge) ? "cut" : line.edge.toxics.length ? "toxic" : "rate"}`);
    const width = 16 + text.length * 9.4;
    line.plate.setAttribute("width", width);
    line.plate.setAttribute("x", -width / 2);
    line.plate.setAttribute("y", -13);
  }

  routeEdges() {
    for (const line of this.byLine.values()) {
      const from = this.at.get(line.edge.source);
      const to = this.at.get(line.edge.target);
      if (!from || !to) {
        line.path.setAttribute("d", "");
        line.label.style.display = "none";
        continue;
      }
      const kind = line.edge.kind;
      const route = kind === "replication" && isBehind(from, to) ? around(from, to) : connect(from, to, kind === "watch" && this.plan.beside);
      line.path.setAttribute("d", route.d);
      line.label.setAttribute("transform", `translate(${route.x.toFixed(1)} ${route.y.toFixed(1)})`);
    }
  }
}

/** A curve between the facing sides of two boxes, and its middle; `level` leaves them at the left and right only. */
function connect(from, to, level = false) {
  const a = { x: from.x + from.w / 2, y: from.y + from.h / 2 };
  const b = { x: to.x + to.w / 2, y: to.y + to.h / 2 };
  const apart = Math.abs(b.y - a.y) - (from.h + to.h) / 2;
  if (apart > 10 && !level) {
    const down = b.y > a.y ? 1 : -1;
    a.y += (down * from.h) / 2;
    b.y -= (down * to.h) / 2;
    const bend = Math.min(90, Math.abs(b.y - a.y) / 2) * down;
    return bezier(a, { x: a.x, y: a.y + bend }, { x: b.x, y: b.y - bend }, b);
  }
  const right = b.x > a.x ? 1 : -1;
  a.x += (right * from.w) / 2;
  b.x -= (right * to.w) / 2;
  const bend = Math.min(90, Math.abs(b.x - a.x) / 2) * right;
  return bezier(a, { x: a.x + bend, y: a.y }, { x: b.x - bend, y: b.y }, b);
}

/** Whether another card may stand between a replica and its primary above it. */
const isBehind = (from, to) => Math.abs(from.x - to.x) < 4 && from.y - to.y > to.h + RAIL * 1.4;

/** A curve from left side to left side. */
function around(from, to) {
  const a = { x: from.x, y: from.y + from.h / 2 };
  const b = { x: to.x, y: to.y + to.h / 2 };
  return bezier(a, { x: a.x - 70, y: a.y }, { x: b.x - 70, y: b.y }, b);
}

/** Where a label stands on a curve: nearer to its source, for lines come together at their targets. */
const LABEL = 0.4;

function bezier(a, c, d, b) {
  const rest = 1 - LABEL;
  const at = (w, x, y, z) => rest ** 3 * w + 3 * rest ** 2 * LABEL * x + 3 * rest * LABEL ** 2 * y + LABEL ** 3 * z;
  const text = [c, d, b].map((p) => `${p.x.toFixed(1)} ${p.y.toFixed(1)}`).join(" ");
  return {
    d: `M${a.x.toFixed(1)} ${a.y.toFixed(1)}C${text}`,
    x: at(a.x, c.x, d.x, b.x),
    y: at(a.y, c.y, d.y, b.y),
  };
}

function edgeState(edge, nodes, ping) {
  if (cutEdge(edge)) return "cut";
  if (edge.toxics.length) return "toxic";
  const node = nodes.get(edge.source);
  if (edge.kind === "replication") {
    return !node || node.condition in ABSENT ? "gone" : { up: "up", sync: "sync" }[node.link] || "down";
  }
  if (edge.kind === "watch") return node && node.belief && node.belief.words.length ? "down" : "up";
  if (edge.kind === "clients" && ping) return ping.ms === null ? "down" : "up";
  return "up";
}

/** What stands on a line. Lines that have no other reason than their fault are seen without. */
function edgeLabel(edge, tight) {
  if (edge.kind === "other") return "";
  if (cutEdge(edge)) return edge.state === "refused" ? "⊘" : "✂";
  if (!edge.toxics.length) {
    const counted = !tight && edge.kind !== "watch" && edge.bytes_per_s !== null && edge.bytes_per_s >= 100;
    return counted ? `${size(edge.bytes_per_s)}/s` : "";
  }
  return tight || edge.kind !== "replication" ? "≈" : edge.toxics.map((toxic) => `≈ ${toxic}`).join(", ");
}

function sizeBox(box, place) {
  box.setAttribute("width", place.w);
  box.setAttribute("height", place.h);
}

/** Where the words of a card stand. */
function arrange(made, place, dense, watcher) {
  const at = (part, x, y) => {
    made[part].setAttribute("x", x);
    made[part].setAttribute("y", y);
  };
  const left = dense ? 10 : 20;
  at("title", left, dense ? 24 : watcher ? 32 : 36);
  at("badge", place.w - left, dense ? 22 : watcher ? 31 : 34);
  at("first", left, dense ? 47 : watcher ? 60 : 80);
  at("second", dense ? place.w - left : left, dense ? 47 : watcher ? 86 : place.h - 22);
  at("fault", place.w - 26, place.h + 5);
}

/** As much of a text as there is room for. Fonts differ, and a screen rounds the widths of letters, hence the margin. */
function fitText(element, text, room) {
  const key = `${room} ${element.classList} ${text}`;
  if (element.dataset.fitted === key) return;
  element.dataset.fitted = key;
  setText(element, text);
  for (let most = text.length - 1; most > 1 && element.getComputedTextLength() > room * 0.95; most -= 1) {
    setText(element, shorten(text, most));
  }
}

function shorten(text, most) {
  return text.length > most ? `${text.slice(0, most - 1)}…` : text;
}

/** The picture in a sentence, for those who do not see it. */
function describe(picture) {
  const words = picture.shards.flatMap((shard) => shard.nodes).map((node) => {
    const state = ABSENT[node.condition] || node.role;
    return `${node.name} ${state}${node.follows && !(node.condition in ABSENT) ? ` of ${node.follows}` : ""}`;
  });
  const beliefs = picture.sentinels.map((n) => `${n.name} ${n.belief ? `believes in ${n.belief.primary}` : "is silent"}`);
  return [...words, ...beliefs].join("; ");
}
