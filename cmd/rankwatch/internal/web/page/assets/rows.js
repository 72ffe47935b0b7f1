// What the board's table shows: marks, orders and filters of rows.

// mark says in one word what this reading did to a row.
export function mark(row) {
  const c = row.change;
  if (!c) return 'same';
  if (c.kind === 'entered') return c.reentry ? 'reentry' : 'entered';
  if (c.kind === 'dropped') return 'dropped';
  if (c.kind === 'index') return 'index';
  return c.places > 0 ? 'up' : c.places < 0 ? 'down' : 'moved';
}

export const nameOf = (row) => row.nickname || row.unique_id || row.uid;

const KIND = { entered: 0, reentry: 0, up: 1, moved: 2, down: 3, index: 4, same: 5, dropped: 6 };

const text = new Intl.Collator(undefined, { numeric: true, sensitivity: 'base' });

// A key of null is unknown and goes last, whichever way the order runs.
const KEYS = {
  rank: (r) => r.position,
  change: (r) => r.change?.places ?? (r.change ? 0 : null),
  creator: nameOf,
  index: (r) => -r.potential_index,
  followers: (r) => negative(r.profile?.follower_count),
  gmv: (r) => negative(r.profile?.metrics?.usd_gmv),
  units: (r) => negative(r.profile?.metrics?.units_sold),
};

const negative = (n) => (n === null || n === undefined ? null : -n);

export function order(rows, by, desc, pins = new Set()) {
  const way = desc ? -1 : 1;
  if (by === 'change') return rows.slice().sort((a, b) => changes(a, b, way) || a.position - b.position);
  const key = by === 'pin' ? (r) => (pins.has(r.uid) ? 0 : 1) : (KEYS[by] ?? KEYS.rank);
  const keyed = rows.map((row) => ({ row, key: key(row) }));
  keyed.sort((a, b) => {
    if (a.key === null || b.key === null) return (a.key === null) - (b.key === null) || a.row.position - b.row.position;
    const c = typeof a.key === 'string' ? text.compare(a.key, b.key) : a.key - b.key;
    return way * c || a.row.position - b.row.position;
  });
  return keyed.map((k) => k.row);
}

// Newcomers first, then climbs by size, falls by size, the rest.
function changes(a, b, way) {
  const ka = KIND[mark(a)];
  const kb = KIND[mark(b)];
  if (ka !== kb) return way * (ka - kb);
  return way * (Math.abs(b.change?.places ?? 0) - Math.abs(a.change?.places ?? 0));
}

export function shown(row, what) {
  const m = mark(row);
  switch (what) {
    case 'entered': return m === 'entered' || m === 'reentry';
    case 'up': return m === 'up';
    case 'down': return m === 'down';
    case 'index': return m === 'index';
    case 'same': return m === 'same' && row.member;
    case 'outside': return !row.member;
    default: return true;
  }
}

export const matches = (row, q) =>
  !q || [row.nickname, row.unique_id, row.uid].some((v) => v && v.toLowerCase().includes(q.toLowerCase()));

export function tally(rows) {
  const n = { all: rows.length, entered: 0, up: 0, down: 0, index: 0, same: 0, outside: 0 };
  for (const row of rows) {
    for (const what of Object.keys(n)) if (what !== 'all' && shown(row, what)) n[what]++;
  }
  return n;
}

// differing are the uids of rows that another board's reading moved or brought.
export function differing(before, after) {
  const old = new Map(before.map((r) => [r.uid, r]));
  return new Set(
    after.filter((r) => {
      const o = old.get(r.uid);
      return !o || o.rank !== r.rank || o.potential_index !== r.potential_index || o.member !== r.member;
    }).map((r) => r.uid),
  );
}

// findRevision is the newest revision read at or before a time, null if history
// begins later. timeOf is asked about log2 of them.
export async function findRevision(at, first, latest, timeOf) {
  let low = first;
  let high = latest;
  let found = null;
  while (low <= high) {
    const middle = Math.floor((low + high) / 2);
    const { revision, time } = await timeOf(middle);
    if (time <= at) {
      found = revision;
      low = middle + 1;
    } else {
      high = middle - 1;
    }
  }
  return found;
}
