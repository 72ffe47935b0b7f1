import { html, createContext, useContext, useEffect, useLayoutEffect, useReducer, useRef, useState } from './vendor/htm/standalone.module.js';
import { distance } from './format.js';

// What every view needs: the translator t, the formats f, the API, the live
// events and the way to another route.
export const App = createContext(null);
export const useApp = () => useContext(App);

// useStore renders again whenever the store says so.
export function useStore(store) {
  const [, again] = useReducer((n) => n + 1, 0);
  useEffect(() => store.subscribe(again), [store]);
  return store.value;
}

// One clock for the whole page: everything that ticks does so together.
const clock = (() => {
  const listeners = new Set();
  let timer = null;
  return {
    subscribe(f) {
      listeners.add(f);
      timer ??= setInterval(() => listeners.forEach((l) => l()), 1000);
      return () => {
        listeners.delete(f);
        if (!listeners.size) {
          clearInterval(timer);
          timer = null;
        }
      };
    },
  };
})();

export function useTick() {
  const [, again] = useReducer((n) => n + 1, 0);
  useEffect(() => clock.subscribe(again), []);
  return Date.now();
}

// Age is a time as distance from now; it ticks, and tells the moment itself on
// hover. A time that is due does not run on into the past.
export function Age({ at, due }) {
  const { f } = useApp();
  const now = useTick();
  if (!at) return '–';
  if (due && distance(Date.parse(at), now)[0] <= 0) return html`<time datetime=${at} title=${f.moment(at)}>${due}</time>`;
  return html`<time datetime=${at} title=${f.moment(at)}>${f.since(at)}</time>`;
}

// useResource holds the answer for a path. `version` asks again and keeps what is
// there meanwhile; another path does not, unless it `follows` the one before.
export function useResource(path, version, follows = (a, b) => a === b) {
  const { api, epoch } = useApp();
  const [state, set] = useState({ path: null, data: null, error: null, at: 0 });
  const [tries, again] = useReducer((n) => n + 1, 0);
  useEffect(() => {
    if (!path) return undefined;
    const call = new AbortController();
    api.get(path, call.signal).then(
      (data) => set({ path, data, error: null, at: Date.now() }),
      (error) => {
        if (call.signal.aborted) return;
        set((old) => ({ ...old, path, data: old.path && follows(old.path, path) ? old.data : null, error }));
      },
    );
    return () => call.abort();
  }, [path, version, tries, epoch]);
  const fits = path && state.path && follows(state.path, path);
  return { data: fits ? state.data : null, error: fits ? state.error : null, at: state.at, current: state.path === path, retry: again };
}

export function Failure({ error, retry }) {
  const { t } = useApp();
  const text = t.or(`error.${error.status}`, error.status === 0 ? t('error.network') : error.detail);
  return html`<div class="notice notice-bad" role="alert">
    <h2>${t('error.title')}</h2>
    <p>${text}</p>
    ${error.detail && error.detail !== text && html`<p class="detail">${error.detail}</p>`}
    <button type="button" class="button" onClick=${retry}>${t('error.retry')}</button>
  </div>`;
}

export function Loading() {
  const { t } = useApp();
  return html`<p class="loading" role="status">${t('load.busy')}<span aria-hidden="true">…</span></p>`;
}

// useKeptFocus gives the focus back to what lost it by being moved: a list that is
// put in another order would otherwise throw its reader to the page's top.
export function useKeptFocus(box) {
  const lost = useRef(null);
  useEffect(() => {
    const gone = (e) => {
      if (e.relatedTarget || !document.hasFocus()) return;
      lost.current = e.target;
      setTimeout(() => { lost.current = null; });
    };
    const element = box.current;
    element?.addEventListener('focusout', gone);
    return () => element?.removeEventListener('focusout', gone);
  }, [box.current]);
  useLayoutEffect(() => {
    const element = lost.current;
    if (element?.isConnected && document.activeElement === document.body) element.focus({ preventScroll: true });
  });
}

// Choice is a row of buttons of which one is pressed.
export function Choice({ label, options, value, onChoose, hidden }) {
  const { f } = useApp();
  return html`<div class="choice" role="group" aria-label=${label}>
    ${!hidden && html`<span class="choice-label" aria-hidden="true">${label}</span>`}
    <span class="choice-set">${options.map(([v, text, count]) => html`<button type="button" key=${v} aria-pressed=${v === value ? 'true' : 'false'}
      disabled=${count === 0 && v !== value} onClick=${() => onChoose(v)}>${text}${count !== undefined && html` <span class="count">${f.integer(count)}</span>`}</button>`)}</span>
  </div>`;
}

export function Pick({ label, options, value, onChoose, className = '' }) {
  return html`<label class=${`pick ${className}`}><span>${label}</span>
    <select value=${String(value)} onChange=${(e) => onChoose(e.currentTarget.value)}>
      ${options.map(([v, text]) => html`<option key=${v} value=${String(v)} selected=${String(v) === String(value)}>${text}</option>`)}
    </select></label>`;
}

// Search tells what was typed once typing pauses.
export function Search({ label, value, onChange }) {
  const [text, set] = useState(value);
  const timer = useRef(null);
  const told = useRef(value);
  useEffect(() => {
    if (value !== told.current) set(value);
    told.current = value;
  }, [value]);
  useEffect(() => () => clearTimeout(timer.current), []);
  const typed = (e) => {
    const next = e.currentTarget.value;
    set(next);
    clearTimeout(timer.current);
    timer.current = setTimeout(() => {
      told.current = next;
      onChange(next);
    }, 120);
  };
  return html`<input class="search" type="search" aria-label=${label} placeholder=${label} value=${text} onInput=${typed} autocomplete="off" spellcheck=${false} />`;
}

// SortHead is a column's head; pressing it sorts, pressing again turns the order.
export function SortHead({ by, sort, desc, onSort, children, className = '', title }) {
  const on = sort === by;
  return html`<th scope="col" class=${className} aria-sort=${on ? (desc ? 'descending' : 'ascending') : 'none'} title=${title}>
    <button type="button" class="sort" onClick=${() => onSort(by, on ? !desc : false)}>${children}<span class="sort-arrow" aria-hidden="true">${on ? (desc ? '▾' : '▴') : ''}</span></button>
  </th>`;
}

export const Flag = ({ tone, children, title }) => html`<span class=${`flag flag-${tone}`} title=${title}>${children}</span>`;
