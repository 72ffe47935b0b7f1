// Turns a watchlist's history into what the chart draws. No more is drawn than
// the history says: a reading that did not show a creator is a gap.

// columns are the chart's x values: places in the list of revisions, or seconds.
// By time a last column is added for now, since unchanged boards publish nothing
// and the last one holds until the next.
export function columns(history, axis, now) {
  if (axis === 'revision') return history.revisions.map((_, i) => i);
  const xs = history.revisions.map((r) => Date.parse(r.time) / 1000);
  // Two boards within a second would share a place.
  for (let i = 1; i < xs.length; i++) if (xs[i] <= xs[i - 1]) xs[i] = xs[i - 1] + 0.001;
  if (xs.length && now !== null) xs.push(Math.max(now / 1000, xs.at(-1) + 0.001));
  return xs;
}

export function lines(history, axis, now) {
  const held = axis === 'time' && now !== null && history.revisions.length > 0;
  return history.series.map((s) => ({
    uid: s.uid,
    name: s.nickname || s.unique_id || s.uid,
    url: s.url,
    ranks: held ? [...s.ranks, s.ranks.at(-1)] : s.ranks,
    indexes: held ? [...s.indexes, s.indexes.at(-1)] : s.indexes,
    ...spells(s),
    last: lastSeen(s.ranks),
  }));
}

function lastSeen(ranks) {
  for (let i = ranks.length - 1; i >= 0; i--) if (ranks[i] !== null) return i;
  return -1;
}

// spells are where membership begins and ends within the history. One that was
// there at the first column does not begin in it. An end is the last place seen
// as a member.
function spells(s) {
  const begins = [];
  const ends = [];
  let place = -1;
  for (let i = 0; i < s.members.length; i++) {
    if (s.members[i] && !s.members[i - 1] && i > 0 && s.ranks[i] !== null) begins.push(i);
    if (!s.members[i] && s.members[i - 1] && place >= 0) ends.push(place);
    if (s.members[i] && s.ranks[i] !== null) place = i;
  }
  return { begins, ends };
}

// marks are columns where the comparison itself changed: baselines and new
// periods.
export function marks(history) {
  const found = [];
  history.revisions.forEach((r, i) => {
    const before = history.revisions[i - 1];
    const period = before && r.period && before.period &&
      (r.period.value !== before.period.value || r.period.type !== before.period.type);
    if (period) found.push({ at: i, kind: 'period', value: r.period.value, reason: r.reason });
    else if (r.outcome === 'baseline') found.push({ at: i, kind: 'baseline', value: '', reason: r.reason });
  });
  return found;
}

// depth is the lowest rank the chart shows. A line that comes from far below
// would flatten all others, so it is cut off at twice the number of lines unless
// all is asked for.
export function depth(series, asked, deep) {
  let lowest = 1;
  for (const s of series) for (const r of s.ranks) if (r !== null && r > lowest) lowest = r;
  if (deep || asked === 'pinned') return { lowest, cut: false };
  const limit = Math.max(10, asked * 2);
  return lowest > limit ? { lowest: limit, cut: true } : { lowest, cut: false };
}

// ticks are round ranks that fit, 1 always among them.
export function ticks(from, to, most) {
  const span = to - from;
  if (span <= 0) return [from];
  const step = [1, 2, 5, 10, 20, 25, 50, 100, 200, 250, 500].find((s) => span / s <= most) ?? 1000;
  const at = [Math.max(1, Math.ceil(from))];
  for (let r = Math.ceil((from + 0.001) / step) * step; r <= to; r += step) if (r > at[0]) at.push(r);
  return at;
}

// spread moves labels apart: what does not fit between its neighbours at `gap` is
// left out, the wanted ones last.
export function spread(labels, gap) {
  const kept = [];
  for (const label of labels.slice().sort(first)) {
    if (kept.every((k) => Math.abs(k.y - label.y) >= gap)) kept.push(label);
  }
  return kept;
}

const first = (a, b) => (b.wanted ? 1 : 0) - (a.wanted ? 1 : 0) || a.y - b.y;

// Ten hues that differ in lightness too; what comes after repeats them dashed.
export const stroke = (i) => ({ hue: i % 10, dash: [[], [6, 3], [2, 3], [10, 3, 2, 3]][Math.floor(i / 10) % 4] });
