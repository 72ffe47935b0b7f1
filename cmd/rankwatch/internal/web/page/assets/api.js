// Asks the API. What has not changed is not sent twice (ETag), and an error says
// what the server said.

export class ApiError extends Error {
  constructor(status, detail, retry) {
    super(detail || `status ${status}`);
    this.name = 'ApiError';
    this.status = status; // 0: no answer
    this.detail = detail;
    this.retry = retry;
  }
}

export const paths = {
  watchlists: (name) => `api/v1/watchlists${name ? `?name=${encodeURIComponent(name)}` : ''}`,
  board: (name, revision) => `api/v1/watchlists/${encodeURIComponent(name)}/board${revision ? `?revision=${revision}` : ''}`,
  history: (name, query) => `api/v1/watchlists/${encodeURIComponent(name)}/history?${new URLSearchParams(query)}`,
  creator: (uid) => `api/v1/creators/${encodeURIComponent(uid)}`,
  events: () => 'api/v1/events',
};

const KEPT = 40;

export function client({ fetch, token, denied }) {
  const held = new Map(); // path → {etag, body}, the last KEPT
  const headers = () => (token() ? { Authorization: `Bearer ${token()}` } : {});
  async function get(path, signal) {
    const sent = { Accept: 'application/json', ...headers() };
    const old = held.get(path);
    if (old) sent['If-None-Match'] = old.etag;
    let response;
    try {
      response = await fetch(path, { headers: sent, signal, cache: 'no-store' });
    } catch (error) {
      if (signal?.aborted) throw error;
      throw new ApiError(0, '', null);
    }
    if (response.status === 304 && old) return old.body;
    if (!response.ok) {
      if (response.status === 401) denied();
      const problem = await response.json().catch(() => null);
      throw new ApiError(response.status, problem?.detail || problem?.title || '', response.headers.get('Retry-After'));
    }
    const body = await response.json();
    const etag = response.headers.get('ETag');
    held.delete(path);
    if (etag) held.set(path, { etag, body });
    if (held.size > KEPT) held.delete(held.keys().next().value);
    return body;
  }
  return { get, headers, forget: () => held.clear() };
}
