import { html, useEffect, useRef, useState } from './vendor/htm/standalone.module.js';
import { LANGUAGES } from './i18n.js';
import { format } from './route.js';
import { useApp, useStore, useTick } from './ui.js';
import { Announcer } from './live.js';

// Shell is what stands around every view.
export function Shell({ route, language, theme, choose, door, main, children }) {
  const { t } = useApp();
  return html`
    <a class="skip" href="#main" onClick=${(e) => {
      e.preventDefault();
      main.current?.focus();
    }}>${t('app.skip')}</a>
    <header class="top">
      <div class="top-in">
        <a class="brand" href=${format({ view: 'watchlists' })} title=${t('app.tagline')}><img src="icon.svg" alt="" width="22" height="22" />rankwatch</a>
        <nav aria-label=${t('app.nav')}>
          <a href=${format({ view: 'watchlists' })} aria-current=${route.view === 'watchlists' ? 'page' : undefined}>${t('nav.watchlists')}</a>
          <a href=${format({ view: 'live' })} aria-current=${route.view === 'live' ? 'page' : undefined}>${t('nav.live')}</a>
        </nav>
        <${Link} open=${door.open} />
        <div class="top-set">
          <label class="mini"><span class="hear">${t('app.language')}</span>
            <select value=${language} onChange=${(e) => choose.language(e.currentTarget.value)}>
              ${Object.entries(LANGUAGES).map(([tag, l]) => html`<option key=${tag} value=${tag} lang=${tag} selected=${tag === language}>${l.own}</option>`)}
            </select></label>
          <label class="mini"><span class="hear">${t('app.theme')}</span>
            <select value=${theme} onChange=${(e) => choose.theme(e.currentTarget.value)}>
              ${['auto', 'light', 'dark'].map((v) => html`<option key=${v} value=${v} selected=${v === theme}>${t(`theme.${v}`)}</option>`)}
            </select></label>
        </div>
      </div>
    </header>
    <main id="main" tabindex="-1" ref=${main}>
      ${door.open ? (children ?? html`<${Nowhere} />`) : html`<${Token} tried=${door.tried} onToken=${choose.token} />`}
    </main>
    <${Announcer} />`;
}

function Nowhere() {
  const { t } = useApp();
  useEffect(() => { document.title = `${t('nowhere.title')} · rankwatch`; }, [t]);
  return html`<div class="notice"><h1 tabindex="-1">${t('nowhere.title')}</h1><p><a href="#/">${t('nowhere.back')}</a></p></div>`;
}

// Link tells whether what is on display is live; without a token that is what it
// waits for, whatever it was doing.
function Link({ open }) {
  const { t, f, events } = useApp();
  const link = useStore(events.link);
  const now = useTick();
  const state = open ? link.state : 'denied';
  const waiting = open && link.state === 'waiting' && link.until - now > 999;
  return html`<div class=${`link link-${state}`} data-link=${state}>
    <span class="dot" aria-hidden="true"></span>
    <span class="link-text">${waiting ? t('link.waitingIn', { when: f.between(link.until, now) }) : t(`link.${state}`)}</span>
    ${waiting && html`<button type="button" class="button button-small" onClick=${events.hurry}>${t('link.now')}</button>`}
  </div>`;
}

function Token({ tried, onToken }) {
  const { t } = useApp();
  const field = useRef(null);
  const [text, set] = useState('');
  useEffect(() => {
    document.title = `${t('token.title')} · rankwatch`;
    field.current?.focus();
  }, [t]);
  return html`<form class="notice token" onSubmit=${(e) => {
    e.preventDefault();
    if (text.trim()) onToken(text.trim());
  }}>
    <h1>${t('token.title')}</h1>
    <p>${t('token.text')}</p>
    <label>${t('token.label')}
      <input ref=${field} type="password" name="token" autocomplete="off" spellcheck=${false} required value=${text} onInput=${(e) => set(e.currentTarget.value)}
        aria-invalid=${tried ? 'true' : undefined} aria-describedby=${tried ? 'token-wrong' : undefined} /></label>
    ${tried && html`<p id="token-wrong" class="bad" role="alert">${t('token.wrong')}</p>`}
    <button type="submit" class="button button-main">${t('token.enter')}</button>
  </form>`;
}
