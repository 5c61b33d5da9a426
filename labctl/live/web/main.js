// The feed: a hello with the curves so far, then frames and events. Comes back by itself when the agent was restarted.

const KEPT = 240;
const SAMPLE_S = 0.4;
const AGAIN_MS = 700;
const SILENCE_MS = 8000;

const curves = new Map();
const control = new Control(takeToken());
const place = document.querySelector("#picture");
const drawing = new Drawing(place.querySelector("svg"), (name) => control.token && control.open("", name));
let latest = null;
let sampledAt = 0;
let heardAt = performance.now();
let source = null;

function take(frame) {
  if (Math.abs(frame.at_s - sampledAt) >= SAMPLE_S) {
    sampledAt = frame.at_s;
    for (const name of new Set([...curves.keys(), ...Object.keys(frame.samples)])) {
      const curve = curves.get(name) || [];
      curve.push(frame.samples[name] ?? null);
      if (curve.length > KEPT) curve.shift();
      curves.set(name, curve);
    }
  }
  latest = control.frame = frame;
  draw();
}

function room() {
  const box = place.getBoundingClientRect();
  return innerWidth <= 820 ? { w: box.width, h: box.width * 1.5 } : { w: box.width, h: box.height };
}

function draw() {
  if (!latest) return;
  const pings = new Map(latest.pings.map((ping) => [`${ping.group}:${ping.node}`, ping]));
  showHeader(latest, curves);
  showFaults(latest.faults);
  showPings(latest.pings, curves);
  drawing.show(latest, curves, pings, room());
}

function hello(data) {
  if (Object.keys(data.curves).length) {
    curves.clear();
    for (const [name, values] of Object.entries(data.curves)) curves.set(name, values);
  }
  for (const event of data.events) showEvent(event, false);
}

function lost(text) {
  setText(byId("lost"), text);
  byId("lost").hidden = !text;
  document.body.classList.toggle("is-lost", Boolean(text));
}

function follow() {
  source?.close();
  source = new EventSource("live");
  const on = (name, act) => source.addEventListener(name, (message) => {
    heardAt = performance.now();
    lost("");
    act(JSON.parse(message.data));
  });
  on("hello", hello);
  on("frame", take);
  on("event", (event) => showEvent(event, true));
  source.onerror = () => {
    lost("Not connected: the lab's agent has gone, or is being started again.");
    if (source.readyState === EventSource.CLOSED) setTimeout(follow, AGAIN_MS);
  };
}

setInterval(() => {
  if (performance.now() - heardAt > SILENCE_MS) lost("Nothing was heard from the lab's agent for a while.");
}, 1000);

function shade() {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const now = document.documentElement.dataset.shade || (dark ? "dark" : "light");
  document.documentElement.dataset.shade = now === "dark" ? "light" : "dark";
}

byId("shade").addEventListener("click", shade);
addEventListener("keydown", (event) => event.key === "d" && !byId("agree").open && shade());
addEventListener("resize", draw);
document.documentElement.dataset.ready = "yes";
follow();
