/* global uPlot */
import { spread, stroke, ticks } from './ranks.js';

const GAP = 13; // pixels between two names
const FONT = '12px system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "PingFang SC", "Microsoft YaHei", sans-serif';

// colours are read from the style sheet, where light and dark are told apart.
function colours(host) {
  const probe = document.createElement('span');
  host.append(probe);
  const read = (name) => {
    probe.style.color = `var(--${name})`;
    return getComputedStyle(probe).color;
  };
  const found = {
    text: read('text'), muted: read('muted'), line: read('line'), mark: read('accent'), surface: read('surface'),
    hues: Array.from({ length: 10 }, (_, i) => read(`hue-${i}`)),
  };
  probe.remove();
  return found;
}

// height leaves room for a name at each rank, as far as the window has it.
const height = (lowest, width) => Math.min(width < 600 ? 420 : 760, Math.max(280, 56 + lowest * (GAP + 1)));

// plot draws into host and returns what changes the drawing.
export function plot(host, p) {
  let palette = colours(host);
  let lit = null;
  let pointing = false; // the pointer chose what is lit, not the list
  let u = null;
  const tip = document.createElement('div');
  tip.className = 'tip';
  tip.hidden = true;

  const index = (uid) => p.series.findIndex((s) => s.uid === uid);
  const isLit = (i) => lit === p.series[i].uid;

  function light(uid) {
    if (uid === lit) return;
    lit = uid;
    pointing = false;
    dim();
  }

  // dim leaves the lit line as it is and fades the others.
  function dim() {
    const i = lit === null ? -1 : index(lit);
    u?.setSeries(i < 0 ? null : i + 1, { focus: true }, false);
  }

  // Everything that is not a line: changes of what is compared, ends, names.
  function over() {
    const { ctx, bbox } = u;
    const dpr = devicePixelRatio || 1;
    ctx.save();
    const x = (i) => Math.round(u.valToPos(p.xs[i], 'x', true));
    const y = (r) => Math.round(u.valToPos(r, 'y', true));
    const inside = (r) => r <= p.reach.lowest;
    for (let i = 0; i < p.series.length; i++) {
      const s = p.series[i];
      ctx.globalAlpha = lit === null || isLit(i) ? 1 : 0.18;
      ctx.fillStyle = ctx.strokeStyle = palette.hues[stroke(i).hue];
      for (const at of s.begins) if (inside(s.ranks[at])) dot(ctx, x(at), y(s.ranks[at]), 3.5 * dpr);
      for (const at of s.ends) if (inside(s.ranks[at])) cross(ctx, x(at), y(s.ranks[at]), 3.5 * dpr);
    }
    names(ctx, bbox, dpr);
    ctx.restore();
  }

  function names(ctx, bbox, dpr) {
    const room = right * dpr - 14 * dpr;
    ctx.font = FONT.replace('12px', `${12 * dpr}px`);
    ctx.textBaseline = 'middle';
    ctx.textAlign = 'left';
    const ends = p.series.map((s, i) => ({ i, s, rank: s.ranks.at(-1) })).filter((e) => e.rank !== null && e.rank !== undefined && e.rank <= p.reach.lowest)
      .map((e) => ({ ...e, y: u.valToPos(e.rank, 'y', true), wanted: isLit(e.i) || p.pins.has(e.s.uid) }));
    for (const e of spread(ends, GAP * dpr)) {
      ctx.globalAlpha = lit === null || isLit(e.i) ? 1 : 0.35;
      ctx.fillStyle = palette.hues[stroke(e.i).hue];
      ctx.fillRect(bbox.left + bbox.width + 5 * dpr, e.y - 1.5 * dpr, 5 * dpr, 3 * dpr);
      ctx.fillStyle = palette.text;
      ctx.fillText(fitted(ctx, `${e.rank}  ${e.s.name}`, room), bbox.left + bbox.width + 14 * dpr, e.y);
    }
  }

  function under() {
    const { ctx, bbox } = u;
    const dpr = devicePixelRatio || 1;
    ctx.save();
    ctx.font = FONT.replace('12px', `${11 * dpr}px`);
    ctx.textBaseline = 'bottom';
    let free = -Infinity;
    for (const m of p.marks) {
      const x = Math.round(u.valToPos(p.xs[m.at], 'x', true)) + 0.5;
      ctx.strokeStyle = palette.muted;
      ctx.setLineDash([2 * dpr, 3 * dpr]);
      line(ctx, x, bbox.top, x, bbox.top + bbox.height);
      const text = m.kind === 'period' ? m.value : p.t('chart.baseline');
      const width = ctx.measureText(text).width;
      const left = Math.min(Math.max(bbox.left, x - width / 2), bbox.left + bbox.width - width);
      if (left < free) continue;
      free = left + width + 8 * dpr;
      ctx.fillStyle = palette.muted;
      ctx.fillText(text, left, bbox.top - 3 * dpr);
    }
    const at = p.shown === null ? -1 : p.revisions.findIndex((r) => r.revision === p.shown);
    if (at >= 0) {
      const x = Math.round(u.valToPos(p.xs[at], 'x', true)) + 0.5;
      ctx.setLineDash([]);
      ctx.strokeStyle = palette.mark;
      ctx.lineWidth = 1.5 * dpr;
      line(ctx, x, bbox.top, x, bbox.top + bbox.height);
    }
    ctx.restore();
  }

  let right = 150;
  function options() {
    const width = host.clientWidth;
    right = width < 600 ? 92 : 160;
    const drawn = new Set();
    const many = p.xs.length > 40;
    const path = p.axis === 'time' ? uPlot.paths.stepped({ align: 1 }) : uPlot.paths.linear();
    return {
      width,
      height: height(p.reach.lowest, width),
      padding: [18, right, 0, 0],
      legend: { show: false },
      focus: { alpha: 0.15 },
      cursor: { focus: { prox: 28 }, points: { show: false }, drag: { x: false, y: false, setScale: false }, y: false },
      scales: {
        x: { time: false, range: (_, min, max) => (min === max ? [min - 1, max + 1] : [min, max]) },
        y: { dir: -1, range: () => [0.4, p.reach.lowest + 0.6] },
      },
      axes: [
        { stroke: palette.muted, grid: { show: false }, ticks: { stroke: palette.line, size: 4 }, font: FONT, size: 30, splits: xSplits, values: (_, at) => at.map(xName) },
        { stroke: palette.muted, grid: { stroke: palette.line, width: 1 }, ticks: { show: false }, font: FONT, size: 36, splits: (v, i, min, max) => ticks(Math.max(1, min), Math.floor(max), Math.max(3, v.bbox.height / (devicePixelRatio || 1) / 28)), values: (_, at) => at.map(String) },
      ],
      series: [{}, ...p.series.map((s, i) => ({
        label: s.name,
        stroke: palette.hues[stroke(i).hue],
        dash: stroke(i).dash,
        width: p.pins.has(s.uid) && p.pins.size < p.series.length ? 3.5 : p.series.length > 20 ? 1.5 : 2,
        paths: path,
        spanGaps: false,
        points: { show: true, size: 5, fill: palette.hues[stroke(i).hue], filter: () => alone(s.ranks, many) },
      }))],
      hooks: {
        drawClear: [() => drawn.clear(), under],
        drawSeries: [(_, i) => p.series[i - 1].last >= 0 && drawn.add(i)],
        draw: [over, () => { host.dataset.lines = drawn.size; }],
        setCursor: [pointed],
        setSeries: [(_, i, opts) => opts.focus && focused(i)],
      },
    };
  }

  // The pointer chose a line, or none.
  function focused(i) {
    const uid = i === null || i === undefined || i === 0 ? null : p.series[i - 1].uid;
    if (uid === lit) return;
    if (uid === null && !pointing) {
      // It lets go of a line whenever it looks where the pointer is.
      dim();
      return;
    }
    lit = uid;
    pointing = uid !== null;
    p.onLit(uid);
  }

  function xSplits(v, i, min, max) {
    const room = Math.max(2, Math.floor(v.bbox.width / (devicePixelRatio || 1) / 84));
    if (p.axis === 'time') return Array.from({ length: room }, (_, k) => min + ((max - min) * (k + 0.5)) / room);
    const step = Math.max(1, Math.ceil(p.revisions.length / room));
    const at = [];
    for (let k = p.revisions.length - 1; k >= 0; k -= step) at.unshift(k);
    return at;
  }
  const long = p.revisions.length > 1 && Date.parse(p.revisions.at(-1).time) - Date.parse(p.revisions[0].time) > 36e5 * 40;
  const xName = (x) => (p.axis === 'time' ? (long ? p.f.day : p.f.clock)(new Date(x * 1000).toISOString()) : String(p.revisions[x]?.revision ?? ''));

  function pointed() {
    const i = lit === null ? -1 : index(lit);
    const at = u.cursor.idx;
    const s = p.series[i];
    const rank = at === null || at === undefined ? null : s?.ranks[at];
    if (i < 0 || rank === null || rank === undefined || u.cursor.left < 0) {
      tip.hidden = true;
      return;
    }
    const revision = p.revisions[Math.min(at, p.revisions.length - 1)];
    const name = document.createElement('b');
    name.append(document.createElement('bdi'));
    name.firstChild.textContent = s.name;
    const facts = [p.t('chart.rank', { rank }), s.indexes[at] !== null && p.t('chart.index', { index: s.indexes[at] })].filter(Boolean).join(' · ');
    const when = `${p.t('creator.at', { revision: String(revision.revision) })} · ${p.f.moment(revision.time)}`;
    tip.replaceChildren(name, ...[facts, when].map((text) => Object.assign(document.createElement('span'), { textContent: text })));
    tip.hidden = false;
    const x = u.valToPos(p.xs[at], 'x');
    const y = u.valToPos(rank, 'y');
    const w = tip.offsetWidth;
    tip.style.transform = `translate(${Math.min(Math.max(0, x - w / 2), u.over.clientWidth + right - w)}px, ${y > tip.offsetHeight + 14 ? y - tip.offsetHeight - 12 : y + 14}px)`;
  }

  function build() {
    u?.destroy();
    u = new uPlot(options(), [p.xs, ...p.series.map((s) => s.ranks)], host);
    u.over.append(tip);
    u.over.addEventListener('click', () => lit !== null && p.onPin(lit));
    if (lit !== null) dim();
  }
  build();

  return {
    light,
    resize() {
      if (host.clientWidth === u.width || host.clientWidth === 0) return;
      build();
    },
    recolour() {
      palette = colours(host);
      build();
    },
    destroy() {
      u.destroy();
      delete host.dataset.lines;
    },
  };
}

// alone are the columns to draw a point at: all if there are few, else those
// without a neighbour, which no line shows.
function alone(ranks, many) {
  const at = [];
  for (let i = 0; i < ranks.length; i++) {
    if (ranks[i] === null) continue;
    const near = (ranks[i - 1] ?? null) !== null || (ranks[i + 1] ?? null) !== null;
    if (!many || !near) at.push(i);
  }
  return at;
}

function line(ctx, x0, y0, x1, y1) {
  ctx.beginPath();
  ctx.moveTo(x0, y0);
  ctx.lineTo(x1, y1);
  ctx.stroke();
}

function dot(ctx, x, y, r) {
  ctx.beginPath();
  ctx.arc(x, y, r, 0, 2 * Math.PI);
  ctx.fill();
}

function cross(ctx, x, y, r) {
  ctx.lineWidth = r / 2;
  ctx.setLineDash([]);
  line(ctx, x - r, y - r, x + r, y + r);
  line(ctx, x - r, y + r, x + r, y - r);
}

function fitted(ctx, text, room) {
  if (ctx.measureText(text).width <= room) return text;
  const letters = [...new Intl.Segmenter().segment(text)].map((s) => s.segment);
  while (letters.length && ctx.measureText(`${letters.join('')}…`).width > room) letters.pop();
  return `${letters.join('')}…`;
}
