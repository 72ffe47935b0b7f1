import { html, useEffect, useMemo, useReducer, useRef } from './vendor/htm/standalone.module.js';
import { board, format, STATES } from './route.js';
import { filter, group, order, paged, state } from './lists.js';
import { paths } from './api.js';
import { Age, Choice, Failure, Flag, Loading, Search, SortHead, useApp, useResource, useTick } from './ui.js';
import { Feed } from './live.js';

const POLL = 30_000;
const EXAMPLE = `watchlists:
  - name: us-beauty
    every: 6h
    top: 200
    filter: {region: US, creator_category_id: 4}`;

export function Overview({ route }) {
  const { t, f, go } = useApp();
  const size = useRef(0);
  const version = useRefresh(size);
  const lists = useResource(paths.watchlists(), version);
  size.current = lists.data?.watchlists.length ?? 0;
  const now = Math.floor(useTick() / 5000) * 5000;
  useEffect(() => { document.title = `${t('lists.title')} · rankwatch`; }, [t]);
  const { data, error } = lists;
  const change = (rest) => go({ ...route, page: 1, ...rest }, { replace: true });
  const sorted = useMemo(
    () => (data ? order(filter(data.watchlists, route, now), route.sort, route.desc, now) : []),
    [data, now, route.q, route.state, route.sort, route.desc],
  );
  const found = useMemo(
    () => STATES.map((v) => [v, t(`lists.state.${v}`), data ? filter(data.watchlists, { q: '', state: v }, now).length : 0]),
    [data, now, t],
  );
  const page = paged(sorted, route.page);
  return html`<div class="page with-side">
    <div class="main-column">
      <div class="page-head"><h1 tabindex="-1">${t('lists.title')}</h1>
        ${data && html`<p class="page-count" role="status">${sorted.length === data.watchlists.length ? t('lists.count', { count: sorted.length }) : t('lists.found', { found: sorted.length, count: data.watchlists.length })}</p>`}</div>
      ${error && (data ? html`<p class="notice notice-slim" role="status">${t('error.stale', { when: f.since(new Date(lists.at).toISOString()) })}</p>` : html`<${Failure} error=${error} retry=${lists.retry} />`)}
      ${!data && !error && html`<${Loading} />`}
      ${data && html`<${Banners} data=${data} />`}
      ${data && data.watchlists.length === 0 && html`<${Nothing} />`}
      ${data && data.watchlists.length > 0 && html`
        <div class="tools">
          <${Search} label=${t('lists.filter')} value=${route.q} onChange=${(q) => change({ q })} />
          <${Choice} label=${t('lists.state')} hidden options=${found} value=${route.state} onChoose=${(s) => change({ state: s })} />
        </div>
        ${sorted.length ? html`<${Table} rows=${page.rows} route=${route} onSort=${(sort, desc) => change({ sort, desc })} />`
          : html`<p class="notice notice-slim">${t('lists.none')} <button type="button" class="more" onClick=${() => change({ q: '', state: 'all' })}>${t('lists.clear')}</button></p>`}
        ${page.pages > 1 && html`<${Pages} page=${page} route=${route} />`}
        <p class="quiet">${t('app.version', { version: data.version })}</p>`}
    </div>
    <aside class="side" aria-label=${t('live.title')}><h2>${t('live.title')}</h2><${Feed} bound=${12} /><p><a href="#/live">${t('live.all')}</a></p></aside>
  </div>`;
}

// useRefresh counts up when the overview should be asked again: soon after news,
// and now and then without any. `size` is how many watchlists there are: for each
// the time between two refreshes grows a millisecond, ten thousand make ten seconds.
function useRefresh(size) {
  const { events } = useApp();
  const [version, again] = useReducer((n) => n + 1, 0);
  const timer = useRef(null);
  const last = useRef(0);
  useEffect(() => {
    const soon = (ms) => {
      timer.current ??= setTimeout(() => {
        timer.current = null;
        last.current = Date.now();
        again();
      }, Math.max(ms, last.current + Math.max(1500, size.current) - Date.now()));
    };
    const stop = events.hear((messages) => {
      if (messages.some((m) => m.kind === 'board' || m.kind === 'status' || m.kind === 'reset')) soon(300);
    });
    const poll = setInterval(() => document.visibilityState === 'visible' && soon(0), POLL);
    return () => {
      stop();
      clearInterval(poll);
      clearTimeout(timer.current);
    };
  }, []);
  return version;
}

function Banners({ data }) {
  const { t, f } = useApp();
  const c = data.token;
  return html`
    ${c && html`<section class="notice notice-bad"><h2>${t.or(`token.condition.${c.status}`, c.status)}</h2>
      <p>${t.or(`token.condition.${c.status}.do`, '')}</p><p class="detail">${c.detail}${c.detail && ' · '}${t('lists.since', { when: f.moment(c.since) })}</p></section>`}
    ${!data.bus && html`<section class="notice notice-warn"><h2>${t('bus.title')}</h2><p>${t('bus.text')}</p></section>`}`;
}

function Nothing() {
  const { t } = useApp();
  return html`<section class="notice"><h2>${t('lists.empty.title')}</h2><p>${t('lists.empty.text')}</p><pre>${EXAMPLE}</pre><p>${t('lists.empty.then')}</p></section>`;
}

function Table({ rows, route, onSort }) {
  const { t } = useApp();
  const head = (by, text, className) => html`<${SortHead} by=${by} sort=${route.sort} desc=${route.desc} onSort=${onSort} className=${className}>${text}<//>`;
  return html`<table class="lists" role="table">
    <caption class="hear">${t('lists.title')}</caption>
    <thead role="rowgroup"><tr role="row">${head('name', t('lists.name'))}${head('state', t('lists.condition'))}${head('read', t('lists.read'))}${head('next', t('lists.next'))}${head('revision', t('lists.revision'), 'number')}${head('changed', t('lists.changed'))}</tr></thead>
    <tbody role="rowgroup">${rows.map((w) => html`<${Line} key=${w.name} w=${w} />`)}</tbody>
  </table>`;
}

// schedule is the worker's own words, of which the common ones are told in the reader's.
const schedule = (t, text) => (text.startsWith('every ') ? t('lists.every', { span: text.slice(6) }) : text);

const TONES = { well: 'good', never: 'idle', reading: 'idle', bus: 'wait', waiting: 'wait', paused: 'wait', overdue: 'wait', rejected: 'wait', retired: 'idle' };

function Line({ w }) {
  const { t } = useApp();
  const now = useTick();
  const s = state(w, now);
  const late = w.overdue && Date.parse(w.overdue) <= now;
  return html`<tr role="row" data-watchlist=${w.name}>
    <th role="rowheader" scope="row"><a class="list-name" href=${format(board(w.name))}>${w.name}</a>
      <span class="sub">${w.region === 'all' ? t('lists.allRegions') : w.region} · ${t('lists.top', { top: w.top })}${w.margin > 0 && t('lists.margin', { margin: w.margin })} · ${schedule(t, w.schedule)}</span></th>
    <td role="cell" data-label=${t('lists.condition')}><${Flag} tone=${TONES[s] ?? 'bad'}>${t.or(`state.${s}`, s)}<//> <${Why} w=${w} s=${s} /></td>
    <td role="cell" data-label=${t('lists.read')} class=${late ? 'late' : ''}>${w.read ? html`<${Age} at=${w.read} />` : t('lists.never')}${late && html` <span class="late-word">${t('lists.overdue')}</span>`}</td>
    <td role="cell" data-label=${t('lists.next')}>${w.reading ? t('lists.reading') : w.next ? html`<${Age} at=${w.next} due=${t('lists.due')} />` : t('lists.unplanned')}</td>
    <td role="cell" data-label=${t('lists.revision')} class="number">${w.revision ?? '–'}</td>
    <td role="cell" data-label=${t('lists.changed')}><${Age} at=${w.changed} /></td>
  </tr>`;
}

// Why tells what the last attempt came to, and of trouble its reason and what the
// worker said.
function Why({ w, s }) {
  const { t } = useApp();
  const c = w.condition ?? (group(s) !== 'well' && w.outcome !== 'changed' && w.outcome !== 'unchanged' ? w : null);
  if (c?.reason) {
    return html`<span class="why">${t.or(`reason.${c.reason}`, c.reason)}${w.failures > 1 && html` · ${t('lists.failures', { count: w.failures })}`}
      ${c.since && html` · <${Age} at=${c.since} />`}</span>${c.detail && html`<span class="detail">${c.detail}</span>`}`;
  }
  if (!w.outcome) return null;
  return html`<span class="why">${t.or(`outcome.${w.outcome}`, w.outcome)}${w.outcome === 'baseline' && w.reason && html`: ${t.or(`reason.${w.reason}`, w.reason)}`}${w.events > 0 && html` · ${t('lists.events', { count: w.events })}`}</span>`;
}

function Pages({ page, route }) {
  const { t } = useApp();
  const to = (n) => format({ ...route, page: n });
  return html`<nav class="pages" aria-label=${t('lists.pages')}>
    ${page.at > 1 ? html`<a class="button" href=${to(page.at - 1)}>${t('lists.previous')}</a>` : html`<span></span>`}
    <span>${t('lists.page', { at: page.at, pages: page.pages })}</span>
    ${page.at < page.pages ? html`<a class="button" href=${to(page.at + 1)}>${t('lists.following')}</a>` : html`<span></span>`}
  </nav>`;
}
