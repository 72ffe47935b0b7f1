// What the overview shows: conditions, orders and filters of watchlists.

// state is a watchlist's, worst first: what it says is what somebody has to do.
export function state(w, now) {
  if (w.condition) return w.condition.status;
  if (w.overdue && Date.parse(w.overdue) <= now) return 'overdue';
  if (!w.read && w.outcome === 'paused') return w.reason === 'bus' ? 'bus' : 'paused';
  if (!w.read) return w.reading ? 'reading' : 'never';
  if (w.outcome === 'waiting' || w.outcome === 'rejected' || w.outcome === 'stale' || w.outcome === 'paused') return w.outcome;
  return 'well';
}

const WEIGHT = {
  denied: 0, quota: 1, fenced: 2, stale: 3, rejected: 4, overdue: 5, paused: 6, waiting: 7, retired: 8, bus: 9, never: 10, reading: 11,
};

// group is what a state is counted as: nobody knows yet whether a watchlist that
// was never read is fine.
export const group = (s) => (s === 'well' ? 'well' : s === 'bus' || s === 'never' || s === 'reading' ? 'unread' : 'trouble');

const text = new Intl.Collator(undefined, { numeric: true });

export function order(lists, by, desc, now) {
  const key = {
    name: (w) => w.name,
    state: (w) => WEIGHT[state(w, now)] ?? 20,
    read: (w) => negative(w.read),
    next: (w) => (w.next ? Date.parse(w.next) : null),
    revision: (w) => (w.revision === null ? null : -w.revision),
    changed: (w) => negative(w.changed),
  }[by];
  const way = desc ? -1 : 1;
  const keyed = lists.map((w) => ({ w, key: key(w) }));
  keyed.sort((a, b) => {
    if (a.key === null || b.key === null) return (a.key === null) - (b.key === null) || text.compare(a.w.name, b.w.name);
    const c = typeof a.key === 'string' ? text.compare(a.key, b.key) : a.key - b.key;
    return way * c || text.compare(a.w.name, b.w.name);
  });
  return keyed.map((k) => k.w);
}

const negative = (time) => (time ? -Date.parse(time) : null);

export function filter(lists, { q, state: want }, now) {
  const word = q.trim().toLowerCase();
  return lists.filter((w) => {
    if (word && !`${w.name} ${w.region}`.toLowerCase().includes(word)) return false;
    return want === 'all' || group(state(w, now)) === want;
  });
}

export const PAGE = 100;

// paged is one page of a list; a page past the end is the last one.
export function paged(list, page) {
  const pages = Math.max(1, Math.ceil(list.length / PAGE));
  const at = Math.min(Math.max(1, page), pages);
  return { pages, at, from: (at - 1) * PAGE, rows: list.slice((at - 1) * PAGE, at * PAGE) };
}
