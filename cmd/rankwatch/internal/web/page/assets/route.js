// The address of everything the page can show. A route survives a round trip
// through its hash; what is default is left out.

export const LINES = [5, 10, 20, 50, 100];
export const SPANS = [30, 100, 300];
export const SORTS = ['rank', 'change', 'creator', 'index', 'followers', 'gmv', 'units', 'pin'];
export const SHOWN = ['all', 'entered', 'up', 'down', 'index', 'same', 'outside'];
export const STATES = ['all', 'trouble', 'unread', 'well'];
export const ORDERS = ['name', 'state', 'read', 'next', 'revision', 'changed'];

const one = (value, among, otherwise) => (among.includes(value) ? value : otherwise);
const natural = (text) => (/^[1-9][0-9]{0,15}$/.test(text ?? '') ? Number(text) : null);

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

export function parse(hash) {
  const bare = hash.replace(/^#/, '');
  const cut = bare.indexOf('?');
  const path = (cut < 0 ? bare : bare.slice(0, cut)).split('/').filter(Boolean).map(decoded);
  const query = new URLSearchParams(cut < 0 ? '' : bare.slice(cut + 1));
  const [head, id] = path;
  if (head === 'board' && id) {
    const lines = query.get('lines');
    return {
      view: 'board',
      name: id,
      rev: natural(query.get('rev')),
      lines: lines === 'pinned' ? 'pinned' : one(natural(lines), LINES, 10),
      axis: one(query.get('axis'), ['revision', 'time'], 'revision'),
      span: one(natural(query.get('span')), SPANS, 100),
      deep: query.get('deep') === '1',
      pins: [...new Set(query.getAll('pin'))].slice(0, 100),
      sort: one(query.get('sort'), SORTS, 'rank'),
      desc: query.get('desc') === '1',
      show: one(query.get('show'), SHOWN, 'all'),
      q: query.get('q') ?? '',
    };
  }
  if (head === 'creator' && id) return { view: 'creator', uid: id };
  if (head === 'live') return { view: 'live' };
  if (head && head !== 'watchlists') return { view: 'nowhere', path: bare };
  return {
    view: 'watchlists',
    q: query.get('q') ?? '',
    state: one(query.get('state'), STATES, 'all'),
    sort: one(query.get('sort'), ORDERS, 'name'),
    desc: query.get('desc') === '1',
    page: natural(query.get('page')) ?? 1,
  };
}

export function format(route) {
  const query = new URLSearchParams();
  const put = (key, value, otherwise) => {
    if (value !== null && value !== undefined && value !== otherwise) query.append(key, value === true ? '1' : value);
  };
  let path = '/';
  switch (route.view) {
    case 'board':
      path = `/board/${encodeURIComponent(route.name)}`;
      put('rev', route.rev);
      put('lines', route.lines, 10);
      put('axis', route.axis, 'revision');
      put('span', route.span, 100);
      put('deep', route.deep, false);
      put('show', route.show, 'all');
      put('sort', route.sort, 'rank');
      put('desc', route.desc, false);
      put('q', route.q, '');
      for (const uid of route.pins ?? []) query.append('pin', uid);
      break;
    case 'creator':
      path = `/creator/${encodeURIComponent(route.uid)}`;
      break;
    case 'live':
      path = '/live';
      break;
    default:
      put('q', route.q, '');
      put('state', route.state, 'all');
      put('sort', route.sort, 'name');
      put('desc', route.desc, false);
      put('page', route.page, 1);
  }
  const tail = query.toString();
  return `#${path}${tail ? `?${tail}` : ''}`;
}

// board is a board's route with everything at its default, or as given.
export const board = (name, rest = {}) => ({ ...parse(`#/board/${encodeURIComponent(name)}`), ...rest });
