// Where everything stands. Pure: a picture and a room make places; no element is touched here.

const CARD = { w: 310, h: 138 };
const SMALL = { w: 168, h: 62 };
const WATCHER = { w: 262, h: 104 };
const PILL = { w: 236, h: 62 };
const GAP = 34;
const RAIL = 86;
const MARGIN = 18;

/** Lines from Sentinels at the side cross nothing, which is worth a smaller picture. */
const BESIDE = 1.35;

/** Nodes in their natural order: redis-2 before redis-10. */
const natural = (one, other) => one.name.localeCompare(other.name, "en", { numeric: true });

/** A primary and what follows it, for each primary; former primaries stand with the replicas of the first. */
function families(picture) {
  const found = [];
  for (const shard of picture.shards) {
    const own = [];
    const loose = [];
    for (const node of shard.nodes) {
      if (node.depth === 0 && !node.former) own.push({ top: node, below: [] });
      else if (node.former || !own.length) loose.push(node);
      else own[own.length - 1].below.push(node);
    }
    if (!own.length) own.push({ top: null, below: [] });
    own[0].below.push(...loose);
    for (const family of own) {
      if (family.below.every((node) => node.depth < 2)) family.below.sort(natural);
      found.push(family);
    }
  }
  if (!picture.sentinels.length) return found;
  const believers = (family) => picture.sentinels.filter((n) => family.top && n.belief?.primary === family.top.name).length;
  return found.sort((one, other) => believers(one) - believers(other)); // the one in power next to the Sentinels
}

/** How big a family is when its replicas stand in so many columns. */
function blockSize(family, columns, card) {
  const rows = Math.ceil(family.below.length / columns);
  const wide = Math.max(1, Math.min(columns, family.below.length));
  const top = family.top ? card.h : 0;
  const rail = family.top && rows ? RAIL * (card === SMALL ? 0.35 : 1) : 0;
  return {
    w: wide * (card.w + GAP) - GAP,
    h: top + rail + rows * (card.h + GAP / 2) - (rows ? GAP / 2 : 0),
    rail,
  };
}

/** The room that cells of one size take in so many columns. */
const gridSize = (count, columns, cell, gap) => ({
  w: Math.min(count, columns) * (cell.w + gap) - gap,
  h: Math.ceil(count / columns) * (cell.h + gap) - gap,
});

/** Every way to arrange a picture that is worth looking at. */
function* arrangements(picture) {
  const own = families(picture);
  const dense = own.length > 9 || picture.shards.some((shard) => shard.nodes.length > 12);
  const card = dense ? SMALL : CARD;
  const most = Math.max(1, ...own.map((family) => family.below.length));
  const watchers = picture.sentinels.length;
  for (let replicas = Math.min(most, 8); replicas > 0; replicas -= 1) {
    for (let columns = 1; columns <= own.length; columns += 1) {
      for (const beside of watchers ? [true, false] : [false]) {
        for (let spread = 1; spread <= (beside ? 1 : Math.max(1, watchers)); spread += 1) {
          yield { own, card, dense, replicas, columns, beside, spread };
        }
      }
    }
  }
}

/** How big an arrangement is, with the sizes of its parts. */
function measure(picture, way) {
  const blocks = way.own.map((family) => blockSize(family, way.replicas, way.card));
  const cell = { w: Math.max(...blocks.map((b) => b.w)), h: Math.max(...blocks.map((b) => b.h)) };
  const gap = way.dense ? GAP * 0.6 : GAP * 1.6;
  const data = gridSize(way.own.length, way.columns, cell, gap);
  const groups = picture.groups.length;
  const clients = { w: groups * (PILL.w + GAP) - GAP, h: groups ? PILL.h + RAIL * (way.dense ? 0.5 : 1) : 0 };
  const watch = gridSize(picture.sentinels.length, way.spread, WATCHER, GAP);
  const main = { w: Math.max(data.w, groups ? clients.w : 0), h: clients.h + data.h };
  const none = !picture.sentinels.length;
  const side = RAIL * 1.5;
  const w = none ? main.w : way.beside ? main.w + side + watch.w : Math.max(main.w, watch.w);
  const h = none ? main.h : way.beside ? Math.max(main.h, watch.h) : main.h + RAIL + watch.h;
  return { w: w + 2 * MARGIN, h: h + 2 * MARGIN, blocks, cell, gap, data, clients, watch, main, side };
}

/** The arrangement that can be shown biggest in a room; its size and a place for every name. */
function layout(picture, room) {
  let best = null;
  for (const way of arrangements(picture)) {
    const size = measure(picture, way);
    const scale = Math.min(room.w / size.w, room.h / size.h) * (way.beside ? BESIDE : 1);
    if (!best || scale > best.scale * 1.001) best = { way, size, scale };
  }
  const { way, size } = best;
  const places = {};
  const put = (name, x, y, box) => {
    places[name] = { x: x + MARGIN, y: y + MARGIN, w: box.w, h: box.h };
  };
  const inner = { w: size.w - 2 * MARGIN, h: size.h - 2 * MARGIN };
  const mainX = way.beside || !picture.sentinels.length ? 0 : (inner.w - size.main.w) / 2;
  const mainY = way.beside ? Math.max(0, (inner.h - size.main.h) / 2) : 0;

  picture.groups.forEach((group, index) => {
    const x = mainX + (size.main.w - size.clients.w) / 2 + index * (PILL.w + GAP);
    put(group, x, mainY, PILL);
  });
  way.own.forEach((family, index) => {
    const row = Math.floor(index / way.columns);
    const inRow = Math.min(way.columns, way.own.length - row * way.columns);
    const rowWidth = inRow * (size.cell.w + size.gap) - size.gap;
    const left = mainX + (size.main.w - rowWidth) / 2 + (index % way.columns) * (size.cell.w + size.gap);
    const top = mainY + size.clients.h + row * (size.cell.h + size.gap);
    placeFamily(family, way, size.blocks[index], size.cell, left, top, put);
  });
  const watchX = way.beside ? size.main.w + size.side : (inner.w - size.watch.w) / 2;
  const watchY = way.beside ? (inner.h - size.watch.h) / 2 : size.main.h + RAIL;
  picture.sentinels.forEach((node, index) => {
    const x = watchX + (index % way.spread) * (WATCHER.w + GAP);
    put(node.name, x, watchY + Math.floor(index / way.spread) * (WATCHER.h + GAP), WATCHER);
  });
  return { w: size.w, h: size.h, places, dense: way.dense, beside: way.beside };
}

function placeFamily(family, way, block, cell, left, top, put) {
  const card = way.card;
  let y = top;
  if (family.top) {
    put(family.top.name, left + (cell.w - card.w) / 2, y, card);
    y += card.h + block.rail;
  }
  family.below.forEach((node, index) => {
    const row = Math.floor(index / way.replicas);
    const inRow = Math.min(way.replicas, family.below.length - row * way.replicas);
    const rowWidth = inRow * (card.w + GAP) - GAP;
    const x = left + (cell.w - rowWidth) / 2 + (index % way.replicas) * (card.w + GAP);
    put(node.name, x, y + row * (card.h + GAP / 2), card);
  });
}
