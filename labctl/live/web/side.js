// What stands around the picture: health, faults, clients, events. Everything is written as text, never as markup.

const byId = (id) => document.getElementById(id);

/** An HTML element with a class and text. */
function html(name, className = "", text = "") {
  const element = document.createElement(name);
  if (className) element.className = className;
  if (text) element.textContent = text;
  return element;
}

const clock = (seconds) => new Date(seconds * 1000).toTimeString().slice(0, 8);

function showHeader(frame, curves) {
  setText(byId("lab"), frame.lab);
  setText(byId("engine"), frame.topology === frame.lab ? frame.engine : `${frame.topology} · ${frame.engine}`);
  const well = !frame.reasons.length;
  const health = byId("health");
  health.className = well ? "well" : "ill";
  setText(health, well ? "● healthy" : "▲ unhealthy");
  const more = frame.reasons.length + frame.more_reasons - 1;
  setText(byId("reason"), well ? "" : frame.reasons[0] + (more > 0 ? ` (+${more})` : ""));
  byId("reason").title = frame.reasons.join("\n");
  setText(byId("ops"), `${count(frame.samples.ops || 0)} op/s`);
  setText(byId("clock"), clock(frame.at_s));
  drawCurve(byId("load").firstElementChild, shown(curves, "ops"), 240, 38, 20);
  const title = `${well ? "●" : "▲"} ${frame.lab} · labctl`;
  if (document.title !== title) document.title = title;
}

/** A list whose items are kept by key, so that what moves in them goes on moving. */
function keyed(list, entries, make, update) {
  const kept = new Map([...list.children].map((item) => [item.dataset.key, item]));
  for (const [key, value] of entries) {
    let item = kept.get(key);
    if (!item) {
      item = make();
      item.dataset.key = key;
      list.append(item);
    }
    kept.delete(key);
    update(item, value);
  }
  for (const item of kept.values()) item.remove();
}

function makeFault() {
  const item = html("li", "fault");
  const bar = html("span", "bar");
  bar.append(document.createElement("i"));
  item.append(html("span", "left"), html("b"), html("span", "what"), html("small"), bar);
  return item;
}

function showFaults(faults) {
  keyed(document.querySelector("#faults ul"), faults.map((fault) => [String(fault.id), fault]), makeFault, (item, fault) => {
    const params = fault.params.map(([name, value]) => `${name}=${value}`);
    const holds = [...fault.nodes.slice(0, 4), ...(fault.links ? [`${fault.links} links`] : [])];
    const left = fault.trouble ? "stuck" : fault.reverting ? "healing" : fault.ends_in_s === null ? "until healed" : `${Math.ceil(fault.ends_in_s)} s`;
    setText(item.querySelector(".left"), left);
    setText(item.querySelector("b"), `${fault.id} ${fault.kind} `);
    setText(item.querySelector(".what"), [fault.target, ...params].join(" "));
    setText(item.querySelector("small"), ` ${fault.trouble || holds.join(", ")}`);
    const part = fault.lasts_s ? fault.ends_in_s / fault.lasts_s : 1;
    item.querySelector("i").style.transform = `scaleX(${part.toFixed(3)})`;
  });
}

function makePing() {
  const item = html("li");
  const picture = svg("svg", { viewBox: "0 0 120 24", preserveAspectRatio: "none", "aria-hidden": "true" });
  picture.append(makeCurve());
  item.append(html("span", "what"), html("span", "ms"), picture);
  return item;
}

const MOST_PINGS = 9;

function showPings(pings, curves) {
  byId("pings").hidden = !pings.length;
  const worst = [...pings].sort((a, b) => (b.ms ?? Infinity) - (a.ms ?? Infinity));
  const chosen = new Set(worst.slice(0, MOST_PINGS));
  const entries = pings.filter((ping) => chosen.has(ping)).map((ping) => [`${ping.group}:${ping.node}`, ping]);
  keyed(document.querySelector("#pings ul"), entries, makePing, (item, ping) => {
    item.className = ping.ms === null ? "silent" : "";
    setText(item.querySelector(".what"), `${ping.group} → ${ping.node}`);
    setText(item.querySelector(".ms"), ping.ms === null ? ping.error : milliseconds(ping.ms) + (ping.error ? ` ${ping.error}` : ""));
    const values = shown(curves, `ms:${ping.group}:${ping.node}`);
    drawCurve(item.querySelector(".curve"), values, 120, 23, 2);
  });
}

const MOST_EVENTS = 120;

/** Put an event on top. */
function showEvent(event, isNew) {
  const list = document.querySelector("#events ol");
  const item = html("li", isNew ? "new" : "");
  item.append(html("time", "", clock(event.at_s)), html("span", event.kind, event.text));
  list.prepend(item);
  while (list.children.length > MOST_EVENTS) list.lastElementChild.remove();
}
