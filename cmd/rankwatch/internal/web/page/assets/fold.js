// Folds messages of the stream into what the live list shows: readings, newest
// first, each with its events, closed by its board message; statuses, gaps and
// resets between them. The list and each reading's events are bounded; what is
// left out is counted.

export const ENTRIES = 100;
export const EVENTS = 40;

export const empty = () => ({ entries: [], taken: 0 });

const KINDS = new Set(['entered', 'moved', 'dropped', 'index']);

export function fold(state, messages) {
  const entries = state.entries.slice();
  const replace = (next) => {
    const i = entries.findIndex((e) => e.key === next.key);
    if (i < 0) entries.unshift(next);
    else entries[i] = next;
  };
  const drafts = new Map();
  const draft = (key, make) => {
    if (!drafts.has(key)) {
      const old = entries.find((e) => e.key === key);
      drafts.set(key, old ? { ...old, events: old.events.slice() } : make());
      replace(drafts.get(key));
    }
    return drafts.get(key);
  };
  for (const m of messages) {
    if (m.kind === 'gap') {
      entries.unshift({ type: 'gap', key: `gap ${m.from} ${m.to}`, from: m.from, to: m.to });
      continue;
    }
    if (m.kind === 'reset') {
      entries.unshift({ type: 'reset', key: `reset ${m.last} ${state.taken}`, last: m.last });
      continue;
    }
    const { data, time } = m.event;
    if (m.kind === 'status') {
      entries.unshift({ type: 'status', key: `${m.id}`, id: m.id, time, ...pick(data) });
      continue;
    }
    if (m.kind !== 'board' && !KINDS.has(m.kind)) continue;
    const g = draft(data.reading, () => ({
      type: 'reading', key: data.reading, watchlist: data.watchlist, region: data.region, revision: data.revision,
      time, first: m.id, last: m.id, events: [], seen: 0, of: data.of ?? null, closed: false, counts: null, outcome: null, reason: null,
    }));
    g.last = m.id;
    if (m.kind === 'board') {
      Object.assign(g, { closed: true, counts: data.counts, outcome: data.outcome, reason: data.reason, time });
      g.of ??= total(data.counts);
      continue;
    }
    g.seen++;
    g.of = data.of;
    if (g.events.length < EVENTS) g.events.push({ kind: m.kind, id: m.id, ...creatorOf(data) });
  }
  return { entries: entries.slice(0, ENTRIES), taken: state.taken + messages.length };
}

const total = (c) => c.entered + c.moved + c.dropped + c.index;

const pick = (d) => ({ watchlist: d.watchlist, region: d.region, status: d.status, reason: d.reason, detail: d.detail });

function creatorOf(d) {
  return {
    uid: d.creator.uid, name: d.creator.nickname || d.creator.unique_id || d.creator.uid, before: d.before, after: d.after,
    places: d.places, index: d.index_change, cause: d.cause, reentry: d.history?.reentry ?? false, edge: d.edge ?? false,
  };
}
