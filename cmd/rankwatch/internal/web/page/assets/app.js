import { html, render, useEffect, useMemo, useReducer, useRef, useState } from './vendor/htm/standalone.module.js';
import { format, parse } from './route.js';
import { LANGUAGES, pick, translator } from './i18n.js';
import { formats } from './format.js';
import { client, paths } from './api.js';
import { live, store } from './store.js';
import { App, useStore } from './ui.js';
import { Shell } from './shell.js';
import { Overview } from './overview.js';
import { Board } from './board.js';
import { Creator } from './creator.js';
import { LivePage } from './live.js';

const TOKEN = 'rankwatch.token';
const LANGUAGE = 'rankwatch.language';
const THEME = 'rankwatch.theme';

// Storage may be off; the page then forgets, and works.
const kept = (area, key) => {
  try {
    return area().getItem(key);
  } catch {
    return null;
  }
};
const keep = (area, key, value) => {
  try {
    if (value === null) area().removeItem(key);
    else area().setItem(key, value);
  } catch {
    // see kept
  }
};
const session = () => sessionStorage;
const local = () => localStorage;

// gate is open while the API lets us in. Its token is in the tab's session only.
const gate = store({ open: true, tried: false });
let token = kept(session, TOKEN);
const api = client({
  fetch: (...args) => fetch(...args),
  token: () => token,
  denied: () => gate.value.open && gate.set({ open: false, tried: token !== null }),
});
const events = live(api);
document.addEventListener('visibilitychange', events.visibility);

function Root() {
  const [hash, setHash] = useState(location.hash);
  const [language, setLanguage] = useState(() => pick(navigator.languages ?? [navigator.language], kept(local, LANGUAGE)));
  const [theme, setTheme] = useState(() => document.documentElement.dataset.theme ?? 'auto');
  const [epoch, again] = useReducer((n) => n + 1, 0);
  const door = useStore(gate);
  const link = useStore(events.link);
  const main = useRef(null);

  useEffect(() => {
    const changed = () => setHash(location.hash);
    addEventListener('hashchange', changed);
    return () => removeEventListener('hashchange', changed);
  }, []);
  useEffect(() => {
    document.documentElement.lang = language;
  }, [language]);
  useEffect(() => {
    if (link.state === 'denied' && gate.value.open) gate.set({ open: false, tried: token !== null });
  }, [link]);
  // The stream begins where the overview's answer was, so that nothing falls between.
  useEffect(() => {
    if (!door.open) return undefined;
    const call = new AbortController();
    api.get(paths.watchlists(), call.signal).then(
      (w) => events.start(w.sequence),
      (error) => !call.signal.aborted && error.status !== 401 && events.start(null),
    );
    return () => call.abort();
  }, [door.open, epoch]);

  const route = useMemo(() => parse(hash), [hash]);
  const context = useMemo(() => {
    const t = translator(language);
    return {
      t, f: formats(language), api, events, epoch,
      // go changes the address; `replace` leaves no step for the back button.
      go(next, { replace = false } = {}) {
        const to = format(next);
        if (to === location.hash) return;
        if (replace) {
          history.replaceState(null, '', to);
          setHash(to);
        } else {
          location.hash = to;
        }
      },
    };
  }, [language, epoch]);

  // A new view starts at its top, with the focus on its heading for those who hear it.
  const place = `${route.view} ${route.name ?? route.uid ?? ''}`;
  const before = useRef(place);
  useEffect(() => {
    if (before.current === place) return;
    before.current = place;
    scrollTo(0, 0);
    main.current?.querySelector('h1')?.focus({ preventScroll: true });
  }, [place]);

  const choose = {
    language(next) {
      keep(local, LANGUAGE, next);
      setLanguage(next);
    },
    theme(next) {
      keep(local, THEME, next === 'auto' ? null : next);
      if (next === 'auto') delete document.documentElement.dataset.theme;
      else document.documentElement.dataset.theme = next;
      setTheme(next);
    },
    token(next) {
      token = next;
      keep(session, TOKEN, next);
      api.forget();
      gate.set({ open: true, tried: true });
      again();
    },
  };
  const View = { watchlists: Overview, board: Board, creator: Creator, live: LivePage }[route.view];
  return html`<${App.Provider} value=${context}>
    <${Shell} ...${{ route, language, theme, choose, door, main }}>
      ${View && html`<${View} key=${place} route=${route} theme=${theme} />`}
    <//>
  <//>`;
}

if (!Object.keys(LANGUAGES).includes(document.documentElement.lang)) document.documentElement.lang = 'en';
const root = document.getElementById('app');
root.textContent = '';
render(html`<${Root} />`, root);
