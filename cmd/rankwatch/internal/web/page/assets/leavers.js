import { html } from './vendor/htm/standalone.module.js';
import { format } from './route.js';
import { nameOf } from './rows.js';
import { Flag, useApp } from './ui.js';

// Leavers are those who are not in the table: who dropped out in this reading, and
// members that it did not show.
export function Leavers({ data }) {
  const { t, f } = useApp();
  const link = (x) => html`<a class="name" href=${format({ view: 'creator', uid: x.uid })}><bdi>${nameOf(x)}</bdi></a>`;
  return html`
    ${data.dropped.length > 0 && html`<section class="panel" aria-labelledby="dropped-title"><div class="panel-head"><h2 id="dropped-title">${t('board.droppedTitle', { count: data.dropped.length })}</h2><p class="page-count">${data.dropped.length}</p></div>
      <ul class="leavers">${data.dropped.map((d) => html`<li key=${d.uid} data-dropped=${d.uid}>
        <span class="mark mark-dropped" aria-hidden="true">✕</span> ${link(d)}
        <span class="leaver-facts">${[d.change.before && t('board.was', { rank: d.change.before.rank }), d.change.before && t('board.lastIndex', { index: d.change.before.potential_index }), d.change.after && t('chart.rank', { rank: d.change.after.rank }), d.profile?.follower_count != null && `${f.compact(d.profile.follower_count)} ${t('col.followers').toLowerCase()}`].filter(Boolean).join(' · ')}</span>
        ${d.change.edge && html`<${Flag} tone="idle">${t('mark.gone')}<//>`}
        <a class="handle" href=${d.url} target="_blank" rel="noopener noreferrer" aria-label=${t('creator.fastmossOf', { name: nameOf(d) })}>${t('creator.fastmoss')}<span aria-hidden="true"> ↗</span></a>
      </li>`)}</ul></section>`}
    ${data.absent.length > 0 && html`<section class="panel" aria-labelledby="absent-title"><div class="panel-head"><h2 id="absent-title">${t('board.absentTitle')}</h2><p class="page-count">${data.absent.length}</p></div>
      <p class="quiet">${t('board.absentText')}</p>
      <ul class="leavers">${data.absent.map((a) => html`<li key=${a.uid}>
        ${link(a)} <span class="leaver-facts">${[t('board.lastRank', { rank: a.rank }), t('board.lastIndex', { index: a.potential_index }), a.misses > 0 && t('board.misses', { count: a.misses }), a.unseen > 0 && t('board.unseen', { count: a.unseen })].filter(Boolean).join(' · ')}</span>
        <a class="handle" href=${a.url} target="_blank" rel="noopener noreferrer" aria-label=${t('creator.fastmossOf', { name: nameOf(a) })}>${t('creator.fastmoss')}<span aria-hidden="true"> ↗</span></a>
      </li>`)}</ul></section>`}`;
}
