import { html, useEffect, useMemo, useRef } from './vendor/htm/standalone.module.js';
import { board, format, STATES } from './route.js';
import { places, schedule } from './i18n.js';
import { filter, order, paged, state } from './lists.js';
import { paths } from './api.js';
import { Age, Choice, Failure, Loading, Search, SortHead, useApp, useResource, useTick } from './ui.js';
import { Banners, State, useRefresh, Why } from './standing.js';
import { Feed } from './live.js';

const EXAMPLE = `watchlists:
  - name: us-beauty
    every: 6h
    top: 200
    filter: {region: US, creator_category_id: 4}`;

export function Overview({ route }) {
  const { t, f, go } = useApp();
  const size = useRef(0);
  const version = useRefresh({ size });
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

function Line({ w }) {
  const { t } = useApp();
  const now = useTick();
  const s = state(w, now);
  const late = w.overdue && Date.parse(w.overdue) <= now;
  return html`<tr role="row" data-watchlist=${w.name}>
    <th role="rowheader" scope="row"><a class="list-name" href=${format(board(w.name))}>${w.name}</a>
      <span class="sub">${w.region === 'all' ? t('lists.allRegions') : w.region} · ${places(t, w)} · ${schedule(t, w.schedule)}</span></th>
    <td role="cell" data-label=${t('lists.condition')}><${State} s=${s} /> <${Why} w=${w} s=${s} /></td>
    <td role="cell" data-label=${t('lists.read')} class=${late ? 'late' : ''}>${w.read ? html`<${Age} at=${w.read} />` : t('lists.never')}${late && html` <span class="late-word">${t('lists.overdue')}</span>`}</td>
    <td role="cell" data-label=${t('lists.next')}>${w.reading ? t('lists.reading') : w.next ? html`<${Age} at=${w.next} due=${t('lists.due')} />` : t('lists.unplanned')}</td>
    <td role="cell" data-label=${t('lists.revision')} class="number">${w.revision ?? '–'}</td>
    <td role="cell" data-label=${t('lists.changed')}><${Age} at=${w.changed} /></td>
  </tr>`;
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
