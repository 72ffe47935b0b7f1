import { fold, empty } from './fold.js';
import { follow, sleep } from './stream.js';
import { paths } from './api.js';

// A store holds a value and says when it changes.
export function store(value) {
  const listeners = new Set();
  return {
    value,
    set(next) {
      this.value = next;
      for (const listen of [...listeners]) listen();
    },
    subscribe(listen) {
      listeners.add(listen);
      return () => listeners.delete(listen);
    },
  };
}

const BACKFILL = 300; // messages before the newest that a fresh page shows
const HIDDEN = 60_000; // a page out of sight gives its connection back after this

// live follows the event stream for the whole page: entries and link are stores,
// hear calls back with each message that is newer than the page.
export function live(api) {
  const entries = store(empty());
  const link = store({ state: 'connecting' });
  const hearers = new Set();
  let run = null;
  let last = null; // the id that the stream is followed from
  let news = null; // messages after this one are news, those before it only fill the list
  let waiting = [];

  function flush() {
    const messages = waiting;
    waiting = [];
    entries.set(fold(entries.value, messages));
    for (const hear of [...hearers]) hear(messages.filter((m) => m.id === undefined || news === null || m.id > news));
  }

  function take(message) {
    last = message.kind === 'gap' ? Math.max(last ?? 0, message.to) : message.kind === 'reset' ? message.last : message.id;
    if (message.kind === 'reset') news = message.last;
    // What is missing before the page was opened is no loss of the page's.
    if (message.kind === 'gap' && news !== null && message.to <= news) return;
    if (!waiting.length) setTimeout(flush, 50);
    waiting.push(message);
  }

  function start(sequence) {
    if (last === null && sequence !== null) {
      news = sequence;
      last = Math.max(0, sequence - BACKFILL);
    }
    if (run) return;
    const call = new AbortController();
    run = call;
    link.set({ state: 'connecting' });
    follow({
      url: paths.events(),
      from: last,
      headers: api.headers,
      fetch: (...args) => fetch(...args),
      wait: (ms, signal) => {
        const one = new AbortController();
        const end = () => one.abort();
        signal.addEventListener('abort', end);
        skip = end;
        return sleep(ms, one.signal).finally(() => signal.removeEventListener('abort', end));
      },
      signal: call.signal,
      onMessage: take,
      onState: (state) => {
        if (run === call) link.set(state);
        if (state.state === 'denied' && run === call) run = null;
      },
    });
  }
  let skip = () => {};

  function stop(state) {
    run?.abort();
    run = null;
    link.set({ state });
  }

  let hiding = null;
  function visibility() {
    clearTimeout(hiding);
    if (document.visibilityState === 'hidden') {
      hiding = setTimeout(() => stop('paused'), HIDDEN);
    } else if (link.value.state === 'paused') {
      start(null);
    }
  }

  return {
    entries,
    link,
    start,
    stop,
    visibility,
    hurry: () => skip(),
    hear(f) {
      hearers.add(f);
      return () => hearers.delete(f);
    },
  };
}
