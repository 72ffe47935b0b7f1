import { html, useEffect, useMemo, useRef, useState } from './vendor/htm/standalone.module.js';
import { columns, depth, lines as linesOf, marks as marksOf, stroke } from './ranks.js';
import { useApp, useKeptFocus } from './ui.js';
import { plot } from './plot.js';

// Chart draws one line a creator, rank 1 on top, and tells the same as a list that
// the keyboard moves in and as a table.
export function Chart({ history, asked, wanted, axis, deep, live, pins, onPin, theme, shown }) {
  const { t, f } = useApp();
  const host = useRef(null);
  const drawn = useRef(null);
  const [lit, setLit] = useState(null);
  const picture = useMemo(() => {
    const now = live ? Date.now() : null;
    const series = linesOf(history, axis, now);
    return { series, xs: columns(history, axis, now), marks: marksOf(history), reach: depth(history.series, asked, deep) };
  }, [history, axis, asked, deep, live]);
  const latest = useRef({});
  latest.current = { onPin, setLit };
  const boards = history.revisions.length;
  const drawable = boards > 1 && picture.series.length > 0;

  useEffect(() => {
    if (!drawable) return undefined;
    const p = plot(host.current, {
      ...picture, revisions: history.revisions, axis, t, f, pins, shown,
      onLit: (uid) => latest.current.setLit(uid),
      onPin: (uid) => latest.current.onPin(uid),
    });
    drawn.current = p;
    p.light(lit);
    return () => {
      drawn.current = null;
      p.destroy();
    };
  }, [picture, t, theme, [...pins].join(' '), shown, drawable]);
  useEffect(() => drawn.current?.light(lit), [lit]);
  useEffect(() => {
    if (!drawable) return undefined;
    const seen = new ResizeObserver(() => drawn.current?.resize());
    seen.observe(host.current);
    const dark = matchMedia('(prefers-color-scheme: dark)');
    const again = () => drawn.current?.recolour();
    dark.addEventListener('change', again);
    return () => {
      seen.disconnect();
      dark.removeEventListener('change', again);
    };
  }, [drawable]);

  const count = picture.series.length;
  const missing = wanted === null ? 0 : wanted - count;
  const last = history.revisions.at(-1)?.revision;
  const marked = history.revisions.some((r) => r.revision === shown);
  const said = { lines: t('chart.drawn', { count }), boards: t('chart.over', { count: boards }) };
  return html`<div class="chart" data-series=${count}>
    ${drawable ? html`<div class="plot" ref=${host} role="img" aria-label=${t('chart.summary', said)}></div>` : html`<p class="quiet">${t('chart.short')}</p>`}
    <p class="quiet chart-notes"><span>${said.lines} ${said.boards}</span> <span>${t('chart.key')}</span> ${shown !== null && shown !== last && html`<span class="chart-now">${t('chart.newest', { revision: String(last) })} ${marked && t('chart.marked', { revision: String(shown) })}</span>`} ${picture.reach.cut && html`<span>${t('chart.cut', { rank: picture.reach.lowest })}</span>`} ${missing > 0 && html`<span>${t('chart.asked', { count: missing })}</span>`}</p>
    <${Legend} series=${picture.series} pins=${pins} lit=${lit} onLit=${setLit} onPin=${onPin} />
    <${RankTable} history=${history} />
  </div>`;
}

// Legend is one stop for the tab key; arrows move in it.
function Legend({ series, pins, lit, onLit, onPin }) {
  const { t } = useApp();
  const [at, setAt] = useState(0);
  const list = useRef(null);
  useKeptFocus(list);
  const stop = Math.min(at, series.length - 1);
  const key = (e) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1, Home: -Infinity, End: Infinity }[e.key];
    if (step === undefined) return;
    e.preventDefault();
    const next = Math.min(series.length - 1, Math.max(0, stop + step));
    setAt(next);
    list.current.querySelectorAll('button')[next]?.focus();
  };
  return html`<ul class="legend" aria-label=${t('chart.legend')} title=${t('chart.help')} ref=${list} onKeyDown=${key} onMouseLeave=${() => onLit(null)}>
    ${series.map((s, i) => {
      const { hue, dash } = stroke(i);
      const rank = s.ranks.at(-1);
      return html`<li key=${s.uid}><button type="button" tabindex=${i === stop ? 0 : -1} aria-pressed=${pins.has(s.uid) ? 'true' : 'false'} class=${`${lit === s.uid ? 'lit' : ''}`} data-line=${s.uid}
        onFocus=${() => {
          setAt(i);
          onLit(s.uid);
        }} onBlur=${() => onLit(null)} onMouseEnter=${() => onLit(s.uid)} onClick=${() => onPin(s.uid)}>
        <span class=${`swatch hue-${hue} ${dash.length ? 'dashed' : ''}`} aria-hidden="true"></span>
        <span class="legend-rank">${rank ?? '–'}<span class="hear">${rank === null ? t('chart.gone') : t('chart.now', { rank })}</span></span> <bdi>${s.name}</bdi></button></li>`;
    })}</ul>`;
}

// RankTable is built when it is opened: it may have ten thousand cells.
function RankTable({ history }) {
  const { t, f } = useApp();
  const [open, set] = useState(false);
  return html`<details class="rank-table" onToggle=${(e) => set(e.currentTarget.open)}><summary>${t('chart.table')}</summary>
    ${open && html`<div class="scroll" role="region" aria-label=${t('chart.tableOf')} tabindex="0"><table>
      <caption class="hear">${t('chart.tableOf')}</caption>
      <thead><tr><th scope="col">${t('col.creator')}</th>${history.revisions.map((r) => html`<th scope="col" key=${r.revision} class="number" title=${f.moment(r.time)}>${r.revision}</th>`)}</tr></thead>
      <tbody>${history.series.map((s) => html`<tr key=${s.uid}><th scope="row"><bdi>${s.nickname || s.unique_id || s.uid}</bdi></th>${s.ranks.map((r, i) => html`<td class=${`number ${s.members[i] ? '' : 'outside'}`}>${r ?? html`<span aria-hidden="true">·</span><span class="hear">${t('chart.notSeen')}</span>`}</td>`)}</tr>`)}</tbody>
    </table></div>`}</details>`;
}
