import { createParser } from './vendor/eventsource-parser/index.js';

// Follows the event stream for as long as its signal is not aborted. Each stored
// message comes once and in order, however often the connection is lost: the last
// id is asked to be resumed from, and what comes twice is dropped. What the server
// cannot bring any more comes as a `gap`, and a stream that began anew as a
// `reset`.

const SILENCE = 45_000; // the server says something every 15 s
const LONGEST = 30_000;
const FIRST = 2000;

// pause is how long to wait before the attempt after `failures` failed ones: it
// doubles, and half of it is chance, so that a server that comes back is not met
// by all pages at once.
export function pause(failures, base, random) {
  const span = Math.min(LONGEST, base * 2 ** Math.min(failures - 1, 10));
  return Math.round(span / 2 + (random() * span) / 2);
}

// retryAfter reads the header: seconds or a date. null if there is none.
export function retryAfter(value, now) {
  if (!value) return null;
  if (/^\d+$/.test(value.trim())) return Number(value) * 1000;
  const at = Date.parse(value);
  return Number.isNaN(at) ? null : Math.max(0, at - now);
}

// cursor decides what is news. `last` is the id to resume from, null at first.
export function cursor(last) {
  return {
    last,
    take(message) {
      const data = parsed(message.data);
      if (data === null) return null;
      if (message.event === 'gap') {
        this.last = Math.max(this.last ?? 0, data.to);
        return { kind: 'gap', from: data.from, to: data.to };
      }
      if (message.event === 'reset') {
        this.last = data.last;
        return { kind: 'reset', last: data.last };
      }
      const id = Number(message.id);
      if (!Number.isSafeInteger(id) || id < 1) return null;
      if (this.last !== null && id <= this.last) return null;
      this.last = id;
      return { kind: message.event, id, event: data };
    },
  };
}

// beginning is the id that a stream begins after, told before the first event in a
// block without data, of which the parser says nothing; null if it is not there
// (yet).
export function beginning(text) {
  const found = /^(?:retry: ?\d+\n+)?id: ?(\d+)\n\n/.exec(text);
  return found ? Number(found[1]) : null;
}

// What cannot be read is passed over: it would be no better the next time.
function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

export async function follow(options) {
  const { url, from = null, headers, onMessage, onState, signal } = options;
  const { fetch, wait, random = Math.random, now = Date.now } = options;
  const at = cursor(from);
  let failures = 0;
  let base = FIRST;
  while (!signal.aborted) {
    let asked = null; // how long the server told us to stay away
    try {
      const sent = { Accept: 'text/event-stream', ...headers() };
      if (at.last !== null) sent['Last-Event-ID'] = String(at.last);
      const call = new AbortController();
      const stop = () => call.abort();
      signal.addEventListener('abort', stop);
      let timer = setTimeout(stop, SILENCE);
      try {
        const response = await fetch(url, { headers: sent, signal: call.signal, cache: 'no-store' });
        if (response.status === 401) {
          onState({ state: 'denied' });
          return;
        }
        if (!response.ok || !response.body) {
          asked = retryAfter(response.headers.get('Retry-After'), now());
          throw new Error(`status ${response.status}`);
        }
        const parser = createParser({
          onEvent: (message) => {
            const news = at.take(message);
            if (news) onMessage(news);
          },
          onRetry: (ms) => { base = Math.min(Math.max(ms, 100), LONGEST); },
        });
        onState({ state: 'live' });
        const reader = response.body.getReader();
        const text = new TextDecoder();
        let head = '';
        for (;;) {
          const { value, done } = await reader.read();
          if (done) break;
          clearTimeout(timer);
          timer = setTimeout(stop, SILENCE);
          failures = 0;
          const part = text.decode(value, { stream: true });
          if (at.last === null && head.length < 200) {
            head += part;
            at.last = beginning(head);
          }
          parser.feed(part);
        }
      } finally {
        clearTimeout(timer);
        signal.removeEventListener('abort', stop);
        call.abort();
      }
    } catch (error) {
      if (signal.aborted) return;
      options.onError?.(error);
    }
    failures++;
    const ms = asked ?? pause(failures, base, random);
    onState({ state: 'waiting', until: now() + ms });
    await wait(ms, signal);
  }
}

// sleep waits, or until told otherwise.
export const sleep = (ms, signal) =>
  new Promise((done) => {
    if (signal.aborted) return done();
    const timer = setTimeout(end, ms);
    function end() {
      clearTimeout(timer);
      signal.removeEventListener('abort', end);
      done();
    }
    signal.addEventListener('abort', end);
  });
