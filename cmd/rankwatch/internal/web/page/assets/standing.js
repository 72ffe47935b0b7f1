import { html, useEffect, useReducer, useRef } from './vendor/htm/standalone.module.js';
import { group, state } from './lists.js';
import { paths } from './api.js';
import { Age, Flag, useApp, useResource, useTick } from './ui.js';

// How a watchlist is doing, in the same words wherever it is told.

const TOKEN = '_token';
const POLL = 30_000;
const DAY = 86_400_000;
const LATER = 2000; // what an attempt may take

const TONES = { well: 'good', never: 'idle', reading: 'idle', bus: 'wait', waiting: 'wait', paused: 'wait', overdue: 'wait', rejected: 'wait', retired: 'idle' };

export function State({ s }) {
  const { t } = useApp();
  return html`<${Flag} tone=${TONES[s] ?? 'bad'}>${t.or(`state.${s}`, s)}<//>`;
}

// Why tells what the last attempt came to, and of trouble its reason and what the
// worker said.
export function Why({ w, s }) {
  const { t } = useApp();
  const c = w.condition ?? (group(s) !== 'well' && w.outcome !== 'changed' && w.outcome !== 'unchanged' ? w : null);
  if (c?.reason) {
    return html`<span class="why">${t.or(`reason.${c.reason}`, c.reason)}${w.failures > 1 && html` · ${t('lists.failures', { count: w.failures })}`}
      ${c.since && html` · <${Age} at=${c.since} />`}</span>${c.detail && html`<span class="detail">${c.detail}</span>`}`;
  }
  if (!w.outcome) return null;
  return html`<span class="why">${w.outcome === 'baseline' && w.reason ? t('list.of', { what: t('outcome.baseline') }) + t.or(`reason.${w.reason}`, w.reason) : t.or(`outcome.${w.outcome}`, w.outcome)}${w.events > 0 && html` · ${t('lists.events', { count: w.events })}`}</span>`;
}

// Banners tell what concerns all watchlists.
export function Banners({ data }) {
  const { t, f } = useApp();
  const c = data.token;
  return html`
    ${c && html`<section class="notice notice-bad"><h2>${t.or(`token.condition.${c.status}`, c.status)}</h2>
      <p>${t.or(`token.condition.${c.status}.do`, '')}</p><p class="detail">${c.detail}${c.detail && ' · '}${t('lists.since', { when: f.moment(c.since) })}</p></section>`}
    ${!data.bus && html`<section class="notice notice-warn"><h2>${t('bus.title')}</h2><p>${t('bus.text')}</p></section>`}`;
}

// useRefresh counts up when watchlists should be asked for again: soon after news,
// if `only` names one after news of that one, and now and then without any. `size`
// is how many there are: for each the time between two refreshes grows a
// millisecond, ten thousand make ten seconds.
export function useRefresh({ size, only }) {
  const { events } = useApp();
  const [version, again] = useReducer((n) => n + 1, 0);
  const timer = useRef(null);
  const last = useRef(0);
  useEffect(() => {
    const about = (name) => !only || name === only || name === TOKEN;
    const soon = (ms) => {
      timer.current ??= setTimeout(() => {
        timer.current = null;
        last.current = Date.now();
        again();
      }, Math.max(ms, last.current + Math.max(1500, size?.current ?? 0) - Date.now()));
    };
    const stop = events.hear((messages) => {
      if (messages.some((m) => m.kind === 'reset' || ((m.kind === 'board' || m.kind === 'status') && about(m.event.data.watchlist)))) soon(300);
    });
    const poll = setInterval(() => document.visibilityState === 'visible' && soon(0), POLL);
    return () => {
      stop();
      clearInterval(poll);
      clearTimeout(timer.current);
      timer.current = null;
    };
  }, [only]);
  return version;
}

// Standing is how the watchlist of a board is doing now. A board says nothing of
// that: the last good one stays when readings fail. `board` says whether there is one.
export function Standing({ name, board }) {
  const { t, f } = useApp();
  const version = useRefresh({ only: name });
  const { data, error, at, retry } = useResource(paths.watchlists(name), version);
  const now = useTick();
  const w = data?.watchlists[0];
  // An attempt that comes to what the one before it did is no news, and yet tells
  // that it was made.
  useEffect(() => {
    const wait = w?.reading ? 0 : w?.next ? Date.parse(w.next) - Date.now() : Infinity;
    if (wait > DAY) return undefined;
    const due = setTimeout(() => document.visibilityState === 'visible' && retry(), Math.max(wait, 0) + LATER);
    return () => clearTimeout(due);
  }, [w?.next, w?.reading, at]);
  if (!board && !w) return null; // there is no such watchlist, or its board does not load either
  const lost = error && html`<p class="notice notice-slim" role="status">${data ? t('error.stale', { when: f.since(new Date(at).toISOString()) }) : t('standing.unknown')}</p>`;
  if (!data) return lost;
  const s = w ? state(w, now) : 'retired';
  const bad = !w || group(s) === 'trouble' || s === 'bus';
  const late = w?.overdue && Date.parse(w.overdue) <= now;
  // What ticks would be read out each second, so that those who hear it are told the state alone.
  return html`<${Banners} data=${data} />
    <section class=${bad ? `notice standing ${TONES[s] ? 'notice-warn' : 'notice-bad'}` : 'standing'} aria-label=${t('lists.condition')} data-state=${s}>
      <p><${State} s=${s} /> ${w ? html`<${Why} w=${w} s=${s} />` : html`<span class="why">${t('reason.removed')}</span>`}</p>
      ${w && html`<p class="quiet standing-times">
        <span class=${late ? 'late' : ''}>${t('lists.read')} <b>${w.read ? html`<${Age} at=${w.read} />` : t('lists.never')}</b>${late && html` <span class="late-word">${t('lists.overdue')}</span>`}</span>
        <span>${w.reading ? t('lists.reading') : html`${t('lists.next')} <b>${w.next ? html`<${Age} at=${w.next} due=${t('lists.due')} />` : t('lists.unplanned')}</b>`}</span></p>`}
      <span class="hear" role="status">${bad && t.or(`state.${s}`, s)}</span>
    </section>${lost}`;
}
