import { html, useEffect, useReducer } from './vendor/htm/standalone.module.js';
import { board, format } from './route.js';
import { period } from './i18n.js';
import { nameOf } from './rows.js';
import { paths } from './api.js';
import { Age, Failure, Flag, Loading, useApp, useResource } from './ui.js';
import { Mark } from './live.js';
import { spark } from './spark.js';

const SETTLE = 500;
const TRENDS = 24; // boards whose history is drawn at once

export function Creator({ route }) {
  const { t, events } = useApp();
  const [version, again] = useReducer((n) => n + 1, 0);
  useEffect(() => {
    let timer = null;
    const stop = events.hear((messages) => {
      if (!messages.some((m) => m.kind === 'board' || m.kind === 'reset')) return;
      timer ??= setTimeout(() => {
        timer = null;
        again();
      }, SETTLE);
    });
    return () => {
      stop();
      clearTimeout(timer);
    };
  }, []);
  const answer = useResource(paths.creator(route.uid), version);
  const { data, error } = answer;
  const name = data ? nameOf(data) : route.uid;
  useEffect(() => { document.title = `${name} · rankwatch`; }, [name]);
  if (error && !data) return html`<div class="page page-narrow"><h1 tabindex="-1">${t('creator.title')}</h1>
    ${error.status === 404 ? html`<div class="notice" data-unknown=${route.uid}><h2>${t('creator.unknown', { uid: route.uid })}</h2><p>${t('creator.unknown.text')}</p><p><a href=${format({ view: 'watchlists' })}>${t('nowhere.back')}</a></p></div>`
    : html`<${Failure} error=${error} retry=${answer.retry} />`}</div>`;
  if (!data) return html`<div class="page page-narrow"><h1 tabindex="-1">${t('creator.title')}</h1><${Loading} /></div>`;
  const now = data.boards.filter((b) => b.rank !== null);
  const past = data.boards.filter((b) => b.rank === null);
  return html`<div class="page page-narrow" data-creator=${data.uid}>
    <div class="page-head"><h1 tabindex="-1"><bdi>${name}</bdi></h1>
      <p class="page-count">${data.unique_id && html`<bdi>@${data.unique_id}</bdi> · `}<a href=${data.url} target="_blank" rel="noopener noreferrer" aria-label=${t('creator.fastmossOf', { name })}>${t('creator.fastmoss')}<span aria-hidden="true"> ↗</span></a> · <span class="uid">${data.uid}</span></p></div>
    ${!data.complete && html`<p class="notice notice-slim">${t('creator.incomplete')}</p>`}
    <${Facts} profile=${data.profile} from=${data.profile_from} />
    <section class="panel"><div class="panel-head"><h2>${now.length ? t('creator.boards', { count: now.length }) : t('creator.boards.none')}</h2></div>
      ${now.length > 0 && html`<ul class="boards">${now.map((b, i) => html`<${Place} key=${b.watchlist} b=${b} uid=${data.uid} version=${version} trend=${i < TRENDS} />`)}</ul>`}</section>
    ${past.length > 0 && html`<section class="panel"><div class="panel-head"><h2>${t('creator.past')}</h2></div>
      <ul class="boards">${past.map((b, i) => html`<${Place} key=${b.watchlist} b=${b} uid=${data.uid} version=${version} trend=${now.length + i < TRENDS} />`)}</ul></section>`}
  </div>`;
}

// Facts are the newest that any board told, and which that was.
function Facts({ profile: p, from }) {
  const { t, f } = useApp();
  if (!p) return null;
  const m = p.metrics ?? {};
  const parts = [m.video_units_sold != null && `${f.integer(m.video_units_sold)} ${t('creator.videoUnits')}`, m.live_units_sold != null && `${f.integer(m.live_units_sold)} ${t('creator.liveUnits')}`].filter(Boolean).join(' · ');
  const facts = [['followers', f.integer(p.follower_count)], ['gmv', f.dollars(m.usd_gmv)], ['units', f.integer(m.units_sold), parts], ['plays', f.integer(m.avg_play_count)], ['videos', f.integer(m.video_count)],
    ['category', p.category?.name ?? '–'], ['region', p.region ?? '–']];
  return html`<dl class="facts">${facts.map(([key, value, more]) => html`<div key=${key}><dt>${t(`creator.${key}`)}</dt><dd>${value}${more && html`<span class="sub">${more}</span>`}</dd></div>`)}</dl>
    ${from && html`<p class="quiet facts-from">${t('creator.from', { name: from.watchlist })}${[from.period && period(t, from.period), from.time && f.moment(from.time)].filter(Boolean).map((x) => ` · ${x}`)}</p>`}`;
}

function Place({ b, uid, version, trend }) {
  const { t, f } = useApp();
  return html`<li class="place" data-on=${b.watchlist}>
    <div class="place-rank">${b.rank === null ? html`<span class="quiet">–</span>` : f.integer(b.rank)}</div>
    <div class="place-what">
      <a class="list-name" href=${format(board(b.watchlist, { lines: 'pinned', pins: [uid] }))}>${b.watchlist}</a>
      ${' '}${b.rank === null ? html`<${Flag} tone="idle">${t('creator.notSeen')}<//>` : !b.member && html`<${Flag} tone="idle">${t('creator.outside')}<//>`}
      <span class="sub">${[b.potential_index !== null && t('chart.index', { index: b.potential_index }), t('creator.at', { revision: String(b.revision) }), b.period?.value].filter(Boolean).join(' · ')} · <${Age} at=${b.time} /></span>
      ${(b.peak_rank !== null || b.first_seen !== null) && html`<span class="sub" data-peak=${b.peak_rank}>${[b.peak_rank !== null && t('creator.peak', { rank: b.peak_rank }), b.first_seen !== null && t('creator.firstSeen', { when: f.moment(b.first_seen) })].filter(Boolean).join(' · ')}</span>`}
      ${b.last && html`<span class="sub">${t('list.of', { what: t('creator.last') })}<${Mark} change=${b.last} /> ${b.last_revision !== null && html`<a href=${format(board(b.watchlist, { rev: b.last_revision }))}>${t('creator.at', { revision: String(b.last_revision) })}</a>`} <${Age} at=${b.last_time} /></span>`}
    </div>
    ${trend && html`<${Trend} b=${b} uid=${uid} version=${version} />`}
  </li>`;
}

const WIDTH = 260;
const HEIGHT = 64;

function Trend({ b, uid, version }) {
  const { t } = useApp();
  const { data, error } = useResource(paths.history(b.watchlist, { uid, limit: 100 }), version);
  const s = data?.series.find((x) => x.uid === uid);
  if (error || (data && !s)) return html`<p class="trend quiet">${t('creator.noHistory')}</p>`;
  if (!data) return html`<div class="trend"></div>`;
  const line = spark(s.ranks, WIDTH, HEIGHT, 6);
  if (!line) return html`<p class="trend quiet">${t('creator.noHistory')}</p>`;
  return html`<svg class="trend" viewBox=${`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label=${t('creator.trend', { name: b.watchlist, boards: t('chart.over', { count: data.revisions.length }), from: line.from, to: line.to, best: line.best })}>
    ${line.paths.map((d, i) => html`<path key=${i} d=${d} />`)}
    <circle cx=${line.end[0]} cy=${line.end[1]} r="3" />
    <text x=${WIDTH - 2} y="10" text-anchor="end">${line.best}</text><text x=${WIDTH - 2} y=${HEIGHT - 2} text-anchor="end">${line.worst}</text>
  </svg>`;
}
