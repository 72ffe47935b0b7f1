import { html, Component, useEffect, useMemo, useRef, useState } from './vendor/htm/standalone.module.js';
import { format, SHOWN } from './route.js';
import { matches, nameOf, order, shown, tally } from './rows.js';
import { Choice, Pick, Search, SortHead, useApp, useKeptFocus } from './ui.js';
import { Mark } from './live.js';

const FIRST = 60; // rows of the first paint; the rest follows in steps, so that nothing waits for it
const STEP = 120;
const NEAR = 900; // pixels from the top within which nobody sees that the rest is not there yet

// Rows is the board's table. All rows are in the document, so that the browser's
// own search finds them.
export function Rows({ data, route, pins, flash, onPin, change }) {
  const { t, f } = useApp();
  const panel = useRef(null);
  useKeptFocus(panel);
  const n = useMemo(() => tally(data.rows), [data]);
  const rows = useMemo(
    () => order(data.rows.filter((r) => shown(r, route.show) && matches(r, route.q)), route.sort, route.desc, pins),
    [data, route.show, route.q, route.sort, route.desc, route.sort === 'pin' ? pins : null],
  );
  const painted = useSteps(rows, [route.sort, route.desc, route.show, route.q].join(' '));
  const onSort = (sort, desc) => change({ sort, desc });
  const head = (by, text, className, title) => html`<${SortHead} by=${by} sort=${route.sort} desc=${route.desc} onSort=${onSort} className=${className} title=${title}>${text}<//>`;
  const edge = data.rows.some((r) => r.edge);
  const bare = data.revision < data.latest_revision && data.rows.some((r) => r.profile === null);
  return html`<section class="panel" aria-labelledby="table-title" ref=${panel}>
    <div class="panel-head"><h2 id="table-title">${t('board.table')}</h2>
      <p class="page-count" role="status">${t('board.rows', { count: rows.length })}</p></div>
    <div class="tools">
      <${Search} label=${t('board.filter')} value=${route.q} onChange=${(q) => change({ q })} />
      <${Choice} label=${t('board.show')} hidden options=${SHOWN.filter((v) => v !== 'outside' || n.outside > 0).map((v) => [v, t(`board.show.${v}`), n[v]])} value=${route.show} onChoose=${(show) => change({ show })} />
      <${Pick} className="narrow-only" label=${t('board.sort')} value=${route.sort} onChoose=${(sort) => change({ sort, desc: false })} options=${['rank', 'change', 'creator', 'index', 'followers', 'gmv', 'units', 'pin'].map((v) => [v, t(`col.${v}`)])} />
    </div>
    ${bare && html`<p class="quiet figures-past">${t('board.bare')}</p>`}
    ${rows.length === 0 ? html`<p class="quiet">${t('board.none')}</p>` : html`<table class="rows" role="table" data-rows=${painted.length} aria-rowcount=${rows.length + 1}>
      <caption class="hear">${t('board.table')} ${data.watchlist}, ${t('board.revision', { revision: String(data.revision) })}</caption>
      <thead role="rowgroup"><tr role="row">${head('rank', t('col.rank'), 'number c-rank')}${head('change', t('col.change'), 'c-change')}${head('creator', t('col.creator'), 'c-creator')}${head('index', t('col.index'), 'number c-index', t('col.indexLong'))}${head('followers', t('col.followers'), 'number c-wide')}${head('gmv', t('col.gmv'), 'number c-wide')}${head('units', t('col.units'), 'number c-wide')}${head('pin', t('col.pin'), 'c-pin')}</tr></thead>
      <tbody role="rowgroup">${painted.map((row) => html`<${Row} key=${row.uid} row=${row} t=${t} f=${f} pinned=${pins.has(row.uid)} flash=${flash.has(row.uid)} onPin=${onPin} />`)}</tbody>
    </table>`}
    ${(n.outside > 0 || edge) && html`<p class="quiet legend-note">${n.outside > 0 && t('board.outside', { top: data.rules.top, leave: data.rules.top + data.rules.margin })} ${edge && t('board.edgeNote')}</p>`}
  </section>`;
}

// useSteps are the rows to paint now: the first ones at once, the others frame by
// frame. Another order starts anew, unless that would pull the page from under
// somebody's eyes.
function useSteps(rows, order) {
  const [at, set] = useState({ order, count: FIRST });
  const count = at.order === order ? at.count : scrollY < NEAR ? FIRST : at.count;
  useEffect(() => {
    if (count >= rows.length) return undefined;
    let timer = null;
    const frame = requestAnimationFrame(() => {
      timer = setTimeout(() => set({ order, count: count + STEP }));
    });
    return () => {
      cancelAnimationFrame(frame);
      clearTimeout(timer);
    };
  }, [order, count, rows.length]);
  return count < rows.length ? rows.slice(0, count) : rows;
}

const figures = (r) => `${r.rank} ${r.position} ${r.potential_index} ${r.member} ${r.edge} ${r.nickname} ${r.unique_id} ${r.url} ${r.change?.kind} ${r.change?.places} ${r.change?.index_change} ${r.change?.before?.rank} ${r.change?.reentry} ${r.profile?.follower_count} ${r.profile?.metrics?.usd_gmv} ${r.profile?.metrics?.units_sold}`;

// Row is drawn again only if something of it changed: boards have a thousand.
class Row extends Component {
  shouldComponentUpdate(next) {
    const old = this.props;
    // onPin is new each time, and means the pins of that time.
    this.onPin = next.onPin;
    return old.pinned !== next.pinned || old.flash !== next.flash || old.t !== next.t || (old.row !== next.row && figures(old.row) !== figures(next.row));
  }

  render({ row, t, f, pinned, flash, onPin }) {
    this.onPin = onPin;
    const p = row.profile;
    const name = nameOf(row);
    const step = row.change?.index_change;
    return html`<tr role="row" data-uid=${row.uid} class=${`${row.member ? '' : 'outside'} ${flash ? 'flash' : ''} ${pinned ? 'pinned' : ''}`}>
      <td role="cell" class="number c-rank">${f.integer(row.rank)}</td>
      <td role="cell" class="c-change"><${Mark} change=${row.change} />${row.edge && html` <span class="mark mark-edge" title=${t('mark.edge')}>${t('mark.short.edge')}</span>`}</td>
      <th role="rowheader" scope="row" class="c-creator"><a class="name" href=${format({ view: 'creator', uid: row.uid })} title=${t('creator.here', { name })}><bdi>${name}</bdi></a>
        <span class="sub"><a class="handle" href=${row.url} target="_blank" rel="noopener noreferrer" aria-label=${t('creator.fastmossOf', { name: row.unique_id || name })}><bdi>${row.unique_id ? `@${row.unique_id}` : t('creator.fastmoss')}</bdi><span aria-hidden="true"> ↗</span></a></span>
        ${p && html`<span class="sub narrow-only">${[p.follower_count !== null && `${f.compact(p.follower_count)} ${t('col.followers').toLowerCase()}`, p.metrics?.usd_gmv !== null && `${f.compactDollars(p.metrics?.usd_gmv)} ${t('col.gmv')}`].filter(Boolean).map((x) => html`<span class="figure">${x}</span> `)}</span>`}</th>
      <td role="cell" class="number c-index">${f.integer(row.potential_index)}${step ? html`<span class=${`step ${step > 0 ? 'step-up' : 'step-down'}`}>${f.signed(step)}</span>` : html`<span class="step"></span>`}</td>
      <td role="cell" class="number c-wide">${f.integer(p?.follower_count)}</td>
      <td role="cell" class="number c-wide">${f.dollars(p?.metrics?.usd_gmv)}</td>
      <td role="cell" class="number c-wide">${f.integer(p?.metrics?.units_sold)}</td>
      <td role="cell" class="c-pin"><input type="checkbox" checked=${pinned} aria-label=${t('creator.pin', { name })} onChange=${() => this.onPin(row.uid)} /></td>
    </tr>`;
  }
}
