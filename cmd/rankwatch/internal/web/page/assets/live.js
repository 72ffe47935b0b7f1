import { html, useEffect, useRef, useState } from './vendor/htm/standalone.module.js';
import { board, format } from './route.js';
import { mark } from './rows.js';
import { Age, Flag, useApp, useStore } from './ui.js';

const TOKEN = '_token';
const SAY = 10_000; // at most one announcement in this time
const SHOWN = 8; // events of a reading before the rest is folded away

export function counts(t, c) {
  const parts = ['entered', 'moved', 'dropped', 'index'].filter((k) => c[k] > 0).map((k) => t(`live.counts.${k}`, { count: c[k] }));
  return parts.length ? parts.join(' · ') : t('live.quiet');
}

// Announcer says what came, for those who hear the page: briefly, and not faster
// than one can listen.
export function Announcer() {
  const { t, events } = useApp();
  const [text, say] = useState('');
  const due = useRef({ boards: [], timer: null, at: 0 });
  useEffect(() => {
    const d = due.current;
    const speak = () => {
      d.timer = null;
      d.at = Date.now();
      const last = d.boards.at(-1);
      const { watchlist, revision } = last.event.data;
      say(t('live.say', { count: d.boards.length, name: watchlist, revision: String(revision), what: counts(t, last.event.data.counts) }));
      d.boards = [];
    };
    const stop = events.hear((messages) => {
      d.boards.push(...messages.filter((m) => m.kind === 'board'));
      if (d.boards.length) d.timer ??= setTimeout(speak, Math.max(0, d.at + SAY - Date.now()));
    });
    return () => {
      stop();
      clearTimeout(d.timer);
      d.timer = null;
    };
  }, [t]);
  return html`<div class="hear" role="status" aria-live="polite">${text}</div>`;
}

export function LivePage() {
  const { t } = useApp();
  useEffect(() => { document.title = `${t('live.title')} · rankwatch`; }, [t]);
  return html`<div class="page page-narrow"><h1 tabindex="-1">${t('live.title')}</h1><${Feed} bound=${100} /></div>`;
}

// Feed lists what happened, newest first; of one watchlist if `only` names it.
export function Feed({ only, bound }) {
  const { t, events } = useApp();
  const { entries } = useStore(events.entries);
  const mine = (only ? entries.filter((e) => e.watchlist === only || e.type === 'gap' || e.type === 'reset' || e.watchlist === TOKEN) : entries).slice(0, bound);
  if (!mine.length) return html`<p class="quiet">${t('live.empty')}</p>`;
  return html`<ol class="feed">${mine.map((e) => html`<li key=${e.key} class=${`feed-${e.type}`} data-entry=${e.key} data-first=${e.first} data-last=${e.last ?? e.id} data-closed=${e.closed ? 'true' : undefined}>
    ${e.type === 'reading' ? html`<${Reading} e=${e} only=${only} />` : e.type === 'status' ? html`<${Status} e=${e} />`
      : html`<p class="feed-note">${e.type === 'gap' ? t('live.gap', { from: String(e.from), to: String(e.to) }) : t('live.reset')}</p>`}
  </li>`)}</ol>`;
}

function Reading({ e, only }) {
  const { t } = useApp();
  const [open, set] = useState(false);
  const events = open ? e.events : e.events.slice(0, SHOWN);
  const rest = (e.of ?? e.seen) - events.length;
  return html`
    <div class="feed-head">
      <a href=${format(board(e.watchlist, { rev: e.revision }))}>${!only && html`<b>${e.watchlist}</b> `}${t('live.revision', { revision: String(e.revision) })}</a>
      <span class="feed-when"><${Age} at=${e.time} /></span>
    </div>
    <p class="feed-sum">${e.outcome === 'baseline' ? t('live.baseline', { why: t.or(`reason.${e.reason}`, e.reason) })
      : !e.closed ? html`<${Flag} tone="wait">${t('live.open')}<//>` : e.of === 0 ? t('live.nothing') : counts(t, e.counts)}</p>
    ${events.length > 0 && html`<ul class="feed-events">${events.map((x) => html`<${Event} key=${x.id} x=${x} />`)}</ul>`}
    ${rest > 0 && (open || e.events.length <= SHOWN
      ? html`<p class="quiet">${t('live.more', { count: rest })}</p>`
      : html`<button type="button" class="more" onClick=${() => set(true)}>${t('live.more', { count: rest })}</button>`)}`;
}

function Event({ x }) {
  const { t } = useApp();
  const m = mark({ change: { ...x, reentry: x.reentry } });
  return html`<li class="feed-event" data-id=${x.id}>
    <${Mark} change=${x} />
    <a class="name" href=${format({ view: 'creator', uid: x.uid })}><bdi>${x.name}</bdi></a>
    <span class="feed-place">${place(t, x, m)}</span>
  </li>`;
}

function place(t, x, m) {
  if (m === 'index') return html`${x.before.potential_index} <span aria-hidden="true">→</span> ${x.after.potential_index}`;
  const from = x.before?.rank ?? '–';
  const to = m === 'dropped' ? (x.after?.rank ?? '–') : x.after.rank;
  return html`${from} <span aria-hidden="true">→</span> ${to}`;
}

function Status({ e }) {
  const { t } = useApp();
  return html`
    <div class="feed-head"><b>${e.watchlist === TOKEN ? t('live.token') : e.watchlist}</b><span class="feed-when"><${Age} at=${e.time} /></span></div>
    <p class="feed-sum"><${Flag} tone=${e.status === 'recovered' ? 'good' : 'bad'}>${t.or(`state.${e.status}`, e.status)}<//> ${t.or(`reason.${e.reason}`, e.reason)}</p>
    ${e.detail && html`<p class="detail">${e.detail}</p>`}`;
}

// Mark is a change in one sign; what colour says, the sign and the text say too.
export function Mark({ change }) {
  const { t, f } = useApp();
  const m = mark({ change });
  const size = Math.abs(change?.places ?? 0);
  const long = m === 'up' || m === 'down' ? t(`mark.${m}`, { count: size }) : t(`mark.${m}`);
  const sign = { up: '▲', down: '▼', same: '·', moved: '◆' }[m];
  return html`<span class=${`mark mark-${m}`} title=${[long, change?.before && m !== 'same' ? t('mark.from', { rank: change.before.rank }) : '', ...causes(t, change?.cause)].filter(Boolean).join(t('list.join'))}>
    <span aria-hidden="true">${sign ? html`<i>${sign}</i>${size > 0 && f.integer(size)}` : t(`mark.short.${m}`)}</span>
    <span class="hear">${long}</span>
  </span>`;
}

function causes(t, c) {
  if (!c) return [];
  return [['passed', c.passed], ['passedBy', c.passed_by], ['enteredAbove', c.entered_above], ['droppedAbove', c.dropped_above]]
    .filter(([, n]) => n > 0).map(([k, n]) => t(`cause.${k}`, { count: n }));
}
