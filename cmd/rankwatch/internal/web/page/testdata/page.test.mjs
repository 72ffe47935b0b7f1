// Tests of the page's modules that know no document. Run by `go test`, where there
// is Node.js 20 or newer.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { beginning, cursor, follow, pause, retryAfter } from '../assets/stream.js';
import { empty, fold, ENTRIES } from '../assets/fold.js';
import { board, format, parse, STATES } from '../assets/route.js';
import { filter, state } from '../assets/lists.js';
import { LANGUAGES, pick, places, schedule, translator } from '../assets/i18n.js';
import { distance, formats } from '../assets/format.js';
import { columns, depth, lines, marks, spread, stroke, ticks } from '../assets/ranks.js';
import { differing, findRevision, mark, order, shown, tally } from '../assets/rows.js';

const response = (text, { status = 200, headers = {} } = {}) =>
  new Response(text === null ? null : new Blob([text]).stream(), { status, headers });
const message = (id, kind = 'moved', data = {}) => `id: ${id}\nevent: ${kind}\ndata: ${JSON.stringify(data)}\n\n`;

// script plays answers one after another and then ends the following.
function script(answers) {
  const call = new AbortController();
  const heard = [];
  const asked = [];
  const states = [];
  const waits = [];
  const done = follow({
    url: '/e', headers: () => ({ Authorization: 'Bearer t' }), signal: call.signal, random: () => 1, now: () => 0,
    fetch: async (_, { headers }) => {
      asked.push(headers['Last-Event-ID'] ?? null);
      assert.equal(headers.Authorization, 'Bearer t');
      const next = answers.shift();
      if (!next) {
        call.abort();
        throw new Error('over');
      }
      return next();
    },
    wait: async (ms) => { waits.push(ms); },
    onMessage: (m) => heard.push(m),
    onState: (s) => states.push(s.state),
  });
  return done.then(() => ({ heard, asked, states, waits }));
}

test('a stream that is cut anywhere is resumed without a gap or a repeat', async () => {
  const whole = `retry: 100\n\n${message(1)}${message(2)}: still here\n\n${message(5)}`;
  for (let cut = 0; cut <= whole.length; cut++) {
    // What the server sends after the cut depends on what it is asked for.
    const { heard, asked } = await script([
      () => response(whole.slice(0, cut)),
      () => response([1, 2, 5, 6].map((id) => message(id)).join('')),
    ]);
    assert.deepEqual(heard.map((m) => m.id), [1, 2, 5, 6], `cut at ${cut}`);
    assert.equal(asked[1], heard.length && asked[1] ? asked[1] : null);
  }
});

test('a stream that is cut before its first event is resumed where it began', async () => {
  assert.equal(beginning(`retry: 2000\n\n${message(7)}`), null);
  const start = 'retry: 100\nid: 41\n\n';
  for (const cut of [start.length, start.length + 5]) {
    const { heard, asked } = await script([() => response((start + message(42)).slice(0, cut)), () => response(message(42))]);
    assert.deepEqual([asked, heard.map((m) => m.id)], [[null, '41', '42'], [42]]);
  }
});

test('what the server asks for is done: Retry-After, retry, and no more after 401', async () => {
  const { waits } = await script([
    () => response(null, { status: 503, headers: { 'Retry-After': '7' } }),
    () => response('retry: 300\n\n'),
    () => response('x', { status: 500 }),
  ]);
  assert.deepEqual(waits.slice(0, 3), [7000, 300, 600]);
  const refused = await script([() => response('', { status: 401 })]);
  assert.deepEqual(refused.states, ['denied']);
  assert.equal(refused.asked.length, 1);
});

test('gap and reset are told, and followed from', async () => {
  const { heard, asked } = await script([
    () => response(`${message(9)}event: gap\ndata: {"from":10,"to":20}\n\n`),
    () => response('event: reset\ndata: {"last":3}\n\n'),
    () => response(message(4)),
  ]);
  assert.deepEqual(heard.map((m) => [m.kind, m.id ?? m.to ?? m.last]), [['moved', 9], ['gap', 20], ['reset', 3], ['moved', 4]]);
  assert.deepEqual(asked, [null, '20', '3', '4']);
});

test('pauses grow, are capped, and half of them is chance', () => {
  assert.deepEqual([1, 2, 3, 20].map((n) => pause(n, 2000, () => 1)), [2000, 4000, 8000, 30000]);
  assert.equal(pause(1, 2000, () => 0), 1000);
  assert.equal(retryAfter('Wed, 21 Oct 2015 07:28:00 GMT', Date.parse('2015-10-21T07:27:00Z')), 60000);
  assert.equal(retryAfter('soon', 0), null);
});

test('what cannot be read is passed over', () => {
  const c = cursor(null);
  assert.equal(c.take({ id: '1', event: 'moved', data: '{' }), null);
  assert.equal(c.take({ id: 'x', event: 'moved', data: '{}' }), null);
  assert.equal(c.take({ id: '2', event: 'moved', data: '{}' }).id, 2);
  assert.equal(c.take({ id: '2', event: 'moved', data: '{}' }), null);
});

const change = (id, n, of, reading = 'r') => ({
  id, kind: 'moved', event: { time: 't', data: { watchlist: 'w', region: 'US', revision: 2, reading, n, of, creator: { uid: `u${id}`, nickname: '' }, before: { rank: 2 }, after: { rank: 1 }, places: 1 } },
});
const closing = (id, counts, reading = 'r') => ({
  id, kind: 'board', event: { time: 't', data: { watchlist: 'w', region: 'US', revision: 2, reading, counts, outcome: 'changed', reason: null } },
});

test('a reading is its events, closed by its board, whatever comes in one go', () => {
  const all = [change(1, 1, 2), change(2, 2, 2), closing(3, { entered: 0, moved: 2, dropped: 0, index: 0 })];
  const once = fold(empty(), all);
  const steps = all.reduce((s, m) => fold(s, [m]), empty());
  assert.deepEqual(once, steps);
  assert.equal(once.entries.length, 1);
  const [e] = once.entries;
  assert.deepEqual([e.first, e.last, e.seen, e.closed], [1, 3, 2, true]);
  let many = empty();
  for (let i = 1; i <= 500; i++) many = fold(many, [closing(i, { entered: 0, moved: 0, dropped: 0, index: 0 }, `r${i}`)]);
  assert.equal(many.entries.length, ENTRIES);
  assert.equal(many.entries[0].key, 'r500');
});

test('an address survives a round trip', () => {
  for (const route of [
    board('us-beauty'), board('us', { rev: 3, lines: 50, axis: 'time', deep: true, pins: ['a b', '%', 'ü'], sort: 'gmv', desc: true, q: 'x&y', span: 300, show: 'up' }),
    { view: 'creator', uid: 'a/b?c#d%' }, { view: 'live' }, parse('#/?q=a&state=trouble&page=3'),
  ]) assert.deepEqual(parse(format(route)), route);
  for (const bad of ['', '#', '#/', '#/board', '#/board/%E0%A4%A', '#/board/x?rev=-1&lines=7', '#/?page=0']) assert.ok(parse(bad).view);
  assert.equal(parse('#/board/x?rev=99999999999999999').rev, null);
});

test('both languages say the same things', () => {
  const [en, zh] = [LANGUAGES.en.dictionary, LANGUAGES['zh-CN'].dictionary];
  assert.deepEqual(Object.keys(zh).sort(), Object.keys(en).sort());
  const holes = (text) => [...new Set(JSON.stringify(text).match(/\{\w+\}/g) ?? [])].sort().join();
  for (const key of Object.keys(en)) assert.equal(holes(zh[key]), holes(en[key]), key);
  assert.equal(pick(['fr', 'zh-TW', 'en'], null), 'zh-CN');
  assert.equal(pick(['fr'], null), 'en');
  assert.equal(pick(['zh'], 'en'), 'en');
  assert.equal(translator('en').or('reason.from-tomorrow', 'from-tomorrow'), 'from-tomorrow');
});

test('schedules and places as a language tells them', () => {
  const [en, zh] = ['en', 'zh-CN'].map(translator);
  for (const [text, inEnglish, inChinese] of [
    ['every 5s', 'every 5s', '每 5 秒'], ['every 1h30m', 'every 1h 30m', '每 1 小时 30 分钟'], ['every 1.5s', 'every 1.5s', '每 1.5 秒'],
    ['every 500ms', 'every 500ms', 'every 500ms'], ['cron 0 9 * * * UTC', 'cron 0 9 * * * UTC', 'cron 0 9 * * * UTC'],
  ]) {
    assert.equal(schedule(en, text), inEnglish);
    assert.equal(schedule(zh, text), inChinese);
  }
  assert.equal(places(en, { top: 60, margin: 0 }), 'top 60');
  assert.equal(places(en, { top: 60, margin: 20 }), 'top 60, out past 80');
});

test('Chinese has no half-width colon, comma or bracket between its words', () => {
  for (const [key, text] of Object.entries(LANGUAGES['zh-CN'].dictionary)) {
    for (const one of Object.values(typeof text === 'string' ? { text } : text)) assert.doesNotMatch(one, /\p{Script=Han}[:,;()]|[:,;()]\p{Script=Han}/u, key);
  }
});

test('numbers and times as a language writes them', () => {
  const f = formats('en', 'UTC');
  assert.equal(f.integer(1234567), '1,234,567');
  assert.equal(f.dollars(null), '–');
  assert.deepEqual(distance(0, 59_999), [-59, 'second']);
  assert.deepEqual(distance(0, 3_600_000 * 49), [-2, 'day']);
});

const history = {
  revisions: [1, 2, 3, 4].map((n) => ({ revision: n, time: `2026-01-01T00:0${n}:00Z`, outcome: n === 1 ? 'baseline' : 'changed', reason: null, period: { type: 'month', value: n < 4 ? '2026-01' : '2026-02' } })),
  series: [
    { uid: 'a', nickname: 'A', ranks: [1, 1, 2, 1], indexes: [9, 9, 8, 9], members: [true, true, true, true] },
    { uid: 'b', nickname: '', unique_id: 'bb', ranks: [null, 2, 1, null], indexes: [null, 8, 9, null], members: [false, true, true, false] },
  ],
};

test('a chart says no more than the history', () => {
  assert.deepEqual(columns(history, 'revision', null), [0, 1, 2, 3]);
  assert.equal(columns(history, 'time', Date.parse('2026-01-01T01:00:00Z')).length, 5);
  const [a, b] = lines(history, 'revision', null);
  assert.deepEqual([a.begins, a.ends], [[], []]);
  assert.deepEqual([b.begins, b.ends, b.name], [[1], [2], 'bb']);
  assert.deepEqual(marks(history).map((m) => [m.at, m.kind]), [[0, 'baseline'], [3, 'period']]);
  assert.deepEqual(depth([{ ranks: [900] }], 5, false), { lowest: 10, cut: true });
  assert.deepEqual(ticks(1, 10, 5), [1, 2, 4, 6, 8, 10].filter((n) => ticks(1, 10, 5).includes(n)));
  assert.equal(ticks(1, 1000, 8)[0], 1);
  assert.equal(spread([{ y: 0 }, { y: 5 }, { y: 20, wanted: true }, { y: 22 }], 13).length, 2);
  const looks = new Set(Array.from({ length: 40 }, (_, i) => JSON.stringify(stroke(i))));
  assert.equal(looks.size, 40);
});

test('rows: marks, orders, filters', async () => {
  const row = (uid, position, rest = {}) => ({ uid, nickname: uid, unique_id: uid, rank: position, position, potential_index: 100 - position, member: true, change: null, profile: null, ...rest });
  const rows = [
    row('a', 1, { change: { kind: 'moved', places: 3 } }), row('b', 2, { change: { kind: 'entered', reentry: true } }),
    row('c', 3, { profile: { metrics: { usd_gmv: 5 } } }), row('d', 4, { member: false, profile: { metrics: { usd_gmv: 50 } } }), row('e', 5, { change: { kind: 'moved', places: -1 } }),
  ];
  assert.deepEqual(rows.map(mark), ['up', 'reentry', 'same', 'same', 'down']);
  const by = (key, desc) => order(rows, key, desc).map((r) => r.uid).join('');
  assert.equal(by('rank', false), 'abcde');
  assert.equal(by('rank', true), 'edcba');
  assert.equal(by('gmv', false), 'dcabe'); // unknown last
  assert.equal(by('gmv', true), 'cdabe');
  assert.equal(by('change', false), 'baecd');
  assert.deepEqual(tally(rows), { all: 5, entered: 1, up: 1, down: 1, index: 0, same: 1, outside: 1 });
  assert.ok(shown(rows[3], 'outside') && !shown(rows[3], 'same'));
  assert.deepEqual([...differing(rows, [row('a', 1), row('b', 9), row('z', 3)])], ['b', 'z']);
  const at = (n) => Promise.resolve({ revision: n, time: n * 10 });
  assert.equal(await findRevision(45, 2, 9, at), 4);
  assert.equal(await findRevision(5, 2, 9, at), null);
  assert.equal(await findRevision(1e9, 2, 9, at), 9);
});

test('watchlists: what was never read is neither fine nor in need of attention', () => {
  const never = { name: 'a', region: 'US', read: null, reading: false, outcome: null, reason: null, condition: null, overdue: new Date(1000).toISOString() };
  const read = { ...never, read: new Date(0).toISOString(), outcome: 'unchanged' };
  const paused = { outcome: 'paused', reason: 'bus' };
  for (const [want, w, counted, now = 0] of [
    ['never', never, 'unread'],
    ['reading', { ...never, reading: true }, 'unread'],
    ['bus', { ...never, ...paused }, 'unread'],
    ['bus', { ...never, ...paused, reading: true }, 'unread'],
    ['overdue', { ...never, ...paused }, 'trouble', 1000],
    ['paused', { ...never, outcome: 'paused', reason: 'worker' }, 'trouble'],
    ['stale', { ...never, condition: { status: 'stale' } }, 'trouble'],
    ['well', read, 'well'],
    ['paused', { ...read, outcome: 'paused', reason: 'backlog' }, 'trouble'],
  ]) {
    assert.equal(state(w, now), want);
    assert.deepEqual(STATES.filter((s) => filter([w], { q: '', state: s }, now).length > 0), ['all', counted], want);
  }
});
