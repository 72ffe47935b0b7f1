import { html, useEffect, useMemo, useRef, useState } from './vendor/htm/standalone.module.js';
import { format, LINES, SPANS } from './route.js';
import { period, places } from './i18n.js';
import { differing, findRevision } from './rows.js';
import { paths } from './api.js';
import { Age, Choice, Failure, Loading, Pick, useApp, useResource } from './ui.js';
import { Rows } from './table.js';
import { Leavers } from './leavers.js';
import { Chart } from './chart.js';
import { Feed } from './live.js';
import { Standing } from './standing.js';

const SETTLE = 150;
const FLASH = 2500;

export function Board({ route, theme }) {
  const { t, f, go } = useApp();
  const { version, heard } = useNews(route.name);
  const path = paths.board(route.name, route.rev);
  const answer = useResource(path, route.rev ? 0 : version, (a, b) => a.split('?')[0] === b.split('?')[0]);
  const { data, error } = answer;
  const latest = Math.max(data?.latest_revision ?? 0, heard ?? 0);
  const flash = useFlash(data, route);
  const pins = useMemo(() => new Set(route.pins), [route.pins.join(' ')]);
  const change = (rest) => go({ ...route, ...rest }, { replace: true });
  const pin = (uid) => change({ pins: pins.has(uid) ? route.pins.filter((p) => p !== uid) : [...route.pins, uid] });
  useEffect(() => {
    document.title = `${route.name}${route.rev ? ` · ${t('board.revision', { revision: String(route.rev) })}` : ''} · rankwatch`;
  }, [t, route.name, route.rev]);
  // There may be a board of another revision still; it is not the one that is asked for.
  const unheld = error?.status === 404 && route.rev !== null;
  const known = data !== null && !unheld;
  const missing = !known && error?.status === 404 && !unheld;
  return html`<div class="page with-side" data-board=${route.name} data-revision=${known ? data.revision : undefined}>
    <div class="main-column">
      <div class="page-head"><h1 tabindex="-1">${route.name}</h1>
        ${known && html`<p class="page-count">${[data.region === 'all' ? t('lists.allRegions') : data.region, places(t, data.rules), period(t, data.period)].join(' · ')}</p>`}</div>
      <${Standing} name=${route.name} board=${known} />
      ${error && !known && (missing ? html`<${Missing} name=${route.name} version=${version} />`
        : unheld ? html`<${Unheld} route=${route} version=${version} again=${answer.retry} />` : html`<${Failure} error=${error} retry=${answer.retry} />`)}
      ${error && known && html`<p class="notice notice-slim" role="status">${t('error.stale', { when: f.since(new Date(answer.at).toISOString()) })}</p>`}
      ${!known && !error && html`<${Loading} />`}
      ${known && html`
        <${Revisions} data=${data} route=${route} latest=${latest} busy=${!answer.current} />
        <${Told} data=${data} />
        <${ChartPanel} route=${route} data=${data} version=${version} latest=${latest} pins=${pins} onPin=${pin} change=${change} theme=${theme} />
        <${Rows} data=${data} route=${route} pins=${pins} flash=${flash} onPin=${pin} change=${change} />
        <${Leavers} data=${data} />`}
    </div>
    <aside class="side" aria-label=${t('live.on', { name: route.name })}><h2>${t('live.title')}</h2><${Feed} only=${route.name} bound=${8} /><p><a href="#/live">${t('live.all')}</a></p></aside>
  </div>`;
}

// Unheld says why there is no board of a revision: it is still to come, or gone.
function Unheld({ route, version, again }) {
  const { t } = useApp();
  const { data, error, retry } = useResource(paths.board(route.name), version);
  useEffect(() => {
    if (data && data.first_revision <= route.rev && route.rev <= data.latest_revision) again(); // it came meanwhile
  }, [data?.latest_revision]);
  if (error?.status === 404) return html`<${Missing} name=${route.name} version=${version} />`;
  if (error && !data) return html`<${Failure} error=${error} retry=${retry} />`;
  if (!data) return html`<${Loading} />`;
  const { first_revision: first, latest_revision: latest } = data;
  const why = route.rev > latest ? 'toCome' : route.rev < first ? 'gone' : 'lacking';
  return html`<div class="notice" data-unheld=${route.rev}><h2>${t('board.unheld', { revision: String(route.rev) })}</h2>
    <p>${t(`board.unheld.${why}`, { first: String(first), latest: String(latest) })}</p>
    <p><a href=${format({ ...route, rev: null })}>${t('board.unheld.latest')}</a>${why === 'gone' && html` · <a href=${format({ ...route, rev: first })}>${t('board.unheld.first')}</a>`}</p></div>`;
}

// Missing tells a watchlist that has no board yet from one that there is not.
function Missing({ name, version }) {
  const { t } = useApp();
  const { data, error, retry } = useResource(paths.watchlists(name), version);
  if (error && !data) return html`<${Failure} error=${error} retry=${retry} />`;
  if (!data) return html`<${Loading} />`;
  const which = data.watchlists.some((w) => w.name === name) ? 'noReading' : 'unknown';
  return html`<div class="notice"><h2>${t(`board.${which}`)}</h2><p>${t(`board.${which}.text`)}</p><p><a href=${format({ view: 'watchlists' })}>${t('nowhere.back')}</a></p></div>`;
}

// useNews counts the boards that came for a watchlist, and knows the newest.
function useNews(name) {
  const { events } = useApp();
  const [news, set] = useState({ version: 0, heard: null });
  useEffect(() => {
    let timer = null;
    let newest = null;
    const stop = events.hear((messages) => {
      const mine = messages.filter((m) => (m.kind === 'board' && m.event.data.watchlist === name) || m.kind === 'reset' || m.kind === 'gap');
      if (!mine.length) return;
      for (const m of mine) newest = m.kind === 'board' ? Math.max(newest ?? 0, m.event.data.revision) : null;
      timer ??= setTimeout(() => {
        timer = null;
        set((n) => ({ version: n.version + 1, heard: newest }));
      }, SETTLE);
    });
    return () => {
      stop();
      clearTimeout(timer);
    };
  }, [name]);
  return news;
}

// useFlash are the uids that a board that came by itself changed, for a moment.
function useFlash(data, route) {
  const [flash, set] = useState(new Set());
  const before = useRef(null);
  useEffect(() => {
    const old = before.current;
    before.current = data;
    if (!data || !old || route.rev || old.watchlist !== data.watchlist || old.revision >= data.revision) return undefined;
    set(differing(old.rows, data.rows));
    const timer = setTimeout(() => set(new Set()), FLASH);
    return () => clearTimeout(timer);
  }, [data]);
  return flash;
}

function Revisions({ data, route, latest, busy }) {
  const { t, f } = useApp();
  const at = (rev) => format({ ...route, rev });
  const past = data.revision < latest;
  const next = data.revision + 1 >= latest ? null : data.revision + 1;
  return html`<nav class="revisions" aria-label=${t('board.nav')} aria-busy=${busy ? 'true' : undefined}>
    <span class="steps">
      ${data.revision > data.first_revision ? html`<a class="button turn" rel="prev" href=${at(data.revision - 1)} title=${t('board.previous')} aria-label=${t('board.previous')}>‹</a>` : html`<span class="button turn off" aria-hidden="true">‹</span>`}
      <b class="rev-now">${t('board.revision', { revision: String(data.revision) })} <span class="of">${past ? t('board.of', { latest: String(latest) }) : t('board.isLatest')}</span></b>
      ${past ? html`<a class="button turn" rel="next" href=${at(next)} title=${t('board.following')} aria-label=${t('board.following')}>›</a>` : html`<span class="button turn off" aria-hidden="true">›</span>`}
      ${route.rev !== null && html`<a class="button" href=${at(null)}>${t('board.latest')}</a>`}
    </span>
    <span class="rev-time">${t('board.readAt', { when: f.moment(data.fetched_at) })}${t('list.open')}<${Age} at=${data.fetched_at} />${t('list.close')}</span>
    <${Jump} data=${data} route=${route} latest=${latest} />
  </nav>`;
}

// Jump finds the board that was on display at a time.
function Jump({ data, route, latest }) {
  const { t, api, go } = useApp();
  const [note, set] = useState('');
  const field = useRef(null);
  const find = async (e) => {
    e.preventDefault();
    const at = field.current.valueAsNumber + new Date(field.current.value).getTimezoneOffset() * 60_000;
    if (Number.isNaN(at)) return;
    const timeOf = async (revision) => {
      const b = await api.get(paths.history(route.name, { top: 1, limit: 1, to_revision: revision }));
      const r = b.revisions.at(-1);
      return { revision: r.revision, time: Date.parse(r.time) };
    };
    try {
      const found = await findRevision(at + 999, data.first_revision, latest, timeOf);
      set(found === null ? t('board.jump.none', { first: String(data.first_revision) }) : '');
      if (found !== null) go({ ...route, rev: found === latest ? null : found });
    } catch (error) {
      set(error.detail || t('error.title'));
    }
  };
  return html`<details class="jump"><summary>${t('board.jump')}</summary>
    <form onSubmit=${find}><label class="hear" for="jump-at">${t('board.jump')}</label>
      <input id="jump-at" type="datetime-local" step="1" required ref=${field} /><button class="button" type="submit">${t('board.jump.go')}</button></form>
    ${note && html`<p role="alert">${note}</p>`}</details>`;
}

// Told is what the reading came to, in figures and, where it needs them, words.
function Told({ data }) {
  const { t, f } = useApp();
  const climbed = data.rows.filter((r) => r.change?.places > 0).length;
  const fell = data.rows.filter((r) => r.change?.places < 0).length;
  const figures = [[data.members, 'members', ''], [data.counts.entered, 'entered', 'entered'], [climbed, 'climbed', 'up'], [fell, 'fell', 'down'], [data.counts.dropped, 'dropped', 'dropped'], [data.counts.index, 'index', 'index']];
  return html`
    <dl class="figures">${figures.map(([n, key, tone]) => html`<div key=${key} class=${n > 0 ? `tone-${tone}` : 'zero'}><dt>${t(`board.${key}`)}</dt><dd>${f.integer(n)}</dd></div>`)}</dl>
    <p class="quiet figures-more">${[`${f.integer(data.total)} ${t('board.total')}`, t('board.depth', { depth: data.depth }), data.unchanged > 0 && t('board.unchanged', { count: data.unchanged })].filter(Boolean).join(' · ')}</p>
    ${data.outcome === 'baseline' && html`<p class="notice notice-slim">${t('board.baseline', { why: t.or(`reason.${data.reason}`, data.reason) })}</p>`}
    ${data.period && data.previous_period && data.period.value !== data.previous_period.value && html`<p class="notice notice-slim">${t('board.rolled', { from: data.previous_period.value, to: data.period.value })}</p>`}
    ${!data.events && html`<p class="notice notice-slim">${t('board.eventsGone')}</p>`}`;
}

// ChartPanel asks for the history that the chart draws, and holds its controls.
function ChartPanel({ route, data, version, latest, pins, onPin, change, theme }) {
  const { t } = useApp();
  const pinned = route.lines === 'pinned';
  const query = [['limit', route.span]];
  if (pinned) for (const uid of route.pins) query.push(['uid', uid]);
  else query.push(['top', route.lines]);
  // A revision from before the chart's range ends it.
  if (data.revision <= latest - route.span) query.push(['to_revision', data.revision]);
  const nobody = pinned && route.pins.length === 0;
  const history = useResource(nobody ? null : paths.history(route.name, query), version, () => true);
  return html`<section class="panel" aria-labelledby="chart-title">
    <div class="panel-head"><h2 id="chart-title">${t('chart.title')}</h2>
      <div class="tools tools-chart">
        <${Pick} label=${t('chart.lines')} value=${route.lines} onChoose=${(v) => change({ lines: v === 'pinned' ? v : Number(v) })}
          options=${[...LINES.map((n) => [n, t('chart.top', { count: n })]), ['pinned', t('chart.pinned', { count: route.pins.length })]]} />
        <${Pick} label=${t('chart.span')} value=${route.span} onChoose=${(v) => change({ span: Number(v) })} options=${SPANS.map((n) => [n, t('chart.span.last', { count: n })])} />
        <${Choice} label=${t('chart.axis')} hidden options=${['revision', 'time'].map((v) => [v, t(`chart.axis.${v}`)])} value=${route.axis} onChoose=${(axis) => change({ axis })} />
        ${!pinned && html`<label class="check"><input type="checkbox" checked=${route.deep} onChange=${(e) => change({ deep: e.currentTarget.checked })} />${t('chart.deep')}</label>`}
        ${pins.size > 0 && html`<button type="button" class="button button-small" onClick=${() => change({ pins: [], lines: pinned ? 10 : route.lines })}>${t('chart.unpin')}</button>`}
      </div></div>
    ${nobody ? html`<p class="quiet">${t('chart.pinNone')}</p>` : history.error && !history.data ? html`<${Failure} error=${history.error} retry=${history.retry} />`
      : !history.data ? html`<${Loading} />`
        : html`<${Chart} history=${history.data} asked=${pinned ? 'pinned' : route.lines} wanted=${pinned ? route.pins.length : null} axis=${route.axis} deep=${route.deep} live=${history.data.revisions.at(-1)?.revision === history.data.latest_revision}
          pins=${pins} onPin=${onPin} theme=${theme} shown=${route.rev ? data.revision : null} />`}
  </section>`;
}
