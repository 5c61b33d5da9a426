// Breaking and healing. Only with the token that the address brought along; nothing is done before it was agreed to.

const DURATIONS = [["5 s", 5], ["10 s", 10], ["30 s", 30], ["1 min", 60], ["5 min", 300], ["until healed", null]];
const USUAL = 2;
const KEYS = { k: "kill", p: "partition", z: "pause", l: "latency", i: "isolate", o: "@failover", f: "" };
const FAILOVERS = { sentinel: "sentinel-failover", cluster: "cluster-failover" };

/** The token of the address, kept for a reload and taken out of what a projector shows. */
function takeToken() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given) {
    sessionStorage.setItem("token", given);
    history.replaceState(null, "", location.pathname);
  }
  return sessionStorage.getItem("token");
}

class Control {
  constructor(token) {
    this.token = token;
    this.frame = null;
    this.kinds = [];
    this.seed = 0;
    this.asked = 0;
    if (!token) return;
    document.body.classList.add("steered");
    byId("control").hidden = false;
    for (const button of document.querySelectorAll("#control [data-kind]")) {
      button.addEventListener("click", () => this.open(button.dataset.kind));
    }
    byId("heal").addEventListener("click", () => this.heal());
    addEventListener("keydown", (event) => this.key(event));
    byId("kind").addEventListener("change", () => this.chosen());
    byId("target").addEventListener("change", () => this.preview());
    byId("lasts").addEventListener("change", () => this.preview());
    byId("agree").addEventListener("close", () => byId("agree").returnValue === "yes" && this.inject());
    for (const [index, [text]] of DURATIONS.entries()) byId("lasts").append(new Option(text, index));
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || byId("agree").open) return;
    if (event.key in KEYS) this.open(KEYS[event.key]);
    else if (event.key === "h") this.heal();
    else return;
    event.preventDefault();
  }

  async call(method, path, body) {
    const answer = await fetch(path, {
      method,
      headers: { Authorization: `Bearer ${this.token}`, "Content-Type": "application/json" },
      body: body && JSON.stringify(body),
    });
    const data = await answer.json();
    if (!answer.ok) throw new Error([data.error, data.hint].filter(Boolean).join(" "));
    return data;
  }

  async open(kind, target = "") {
    if (!this.frame) return;
    if (!this.kinds.length) {
      this.kinds = await this.call("GET", "kinds");
      for (const each of this.kinds) byId("kind").append(new Option(`${each.name}: ${each.summary}`, each.name));
    }
    const wanted = kind === "@failover" ? FAILOVERS[this.frame.kind] || "failover" : kind;
    byId("kind").value = wanted || this.kinds[0].name;
    byId("lasts").value = USUAL;
    const nodes = this.frame.picture.shards.flatMap((shard) => shard.nodes).concat(this.frame.picture.sentinels);
    const names = ["primary", "replicas", "sentinels", "any", "minority", "all", ...nodes.map((node) => node.name), ...this.frame.picture.groups];
    byId("targets").replaceChildren(...names.map((name) => new Option(name)));
    this.seed = Math.floor(Math.random() * 2 ** 31);
    byId("agree").returnValue = "";
    byId("agree").showModal();
    this.chosen(target);
    byId(wanted ? "target" : "kind").focus();
  }

  get kind() {
    return this.kinds.find((each) => each.name === byId("kind").value);
  }

  chosen(target = "") {
    byId("target").value = typeof target === "string" && target ? target : this.kind.target;
    byId("lasts").parentElement.hidden = this.kind.momentary;
    this.preview();
  }

  body(dryRun) {
    const lasts = DURATIONS[Number(byId("lasts").value)][1];
    const fault = { kind: byId("kind").value, target: byId("target").value.trim(), duration_s: lasts };
    return { fault, seed: this.seed, dry_run: dryRun };
  }

  async preview() {
    const turn = (this.asked += 1);
    const fault = this.body(true).fault;
    setText(byId("asked"), `${fault.kind} ${fault.target}`);
    byId("do").disabled = true;
    const lines = [];
    try {
      const planned = await this.call("POST", "faults", this.body(true));
      for (const line of planned.consequences) lines.push(html("p", "", line));
      if (!lines.length) lines.push(html("p", "faint", "Nothing further can be foretold."));
      lines.push(html("p", "faint", planned.summary));
      if (turn === this.asked) byId("do").disabled = false;
    } catch (error) {
      lines.push(html("p", "bad", error.message));
    }
    if (turn === this.asked) byId("follows").replaceChildren(...lines);
  }

  async inject() {
    await this.told(this.call("POST", "faults", this.body(false)));
  }

  async heal() {
    await this.told(this.call("DELETE", "faults"));
  }

  async told(work) {
    try {
      await work;
    } catch (error) {
      showEvent({ at_s: Date.now() / 1000, kind: "trouble", text: error.message }, true);
    }
  }
}
