// formats writes numbers and times as a language does. null is an en dash:
// unknown is not zero.
export function formats(language, timeZone) {
  const integer = new Intl.NumberFormat(language, { maximumFractionDigits: 0 });
  const signed = new Intl.NumberFormat(language, { signDisplay: 'exceptZero', maximumFractionDigits: 0 });
  const compact = new Intl.NumberFormat(language, { notation: 'compact', maximumFractionDigits: 1 });
  const dollars = new Intl.NumberFormat(language, { style: 'currency', currency: 'USD', maximumFractionDigits: 0 });
  const few = new Intl.NumberFormat(language, {
    style: 'currency', currency: 'USD', notation: 'compact', maximumFractionDigits: 1,
  });
  const moment = new Intl.DateTimeFormat(language, { dateStyle: 'medium', timeStyle: 'medium', timeZone });
  const clock = new Intl.DateTimeFormat(language, { timeStyle: 'medium', timeZone });
  const day = new Intl.DateTimeFormat(language, { month: 'short', day: 'numeric', timeZone });
  const relative = new Intl.RelativeTimeFormat(language, { numeric: 'always', style: 'narrow' });
  const present = new Intl.RelativeTimeFormat(language, { numeric: 'auto', style: 'narrow' });
  const span = (n, unit) => (n === 0 ? present.format(0, 'second') : relative.format(n, unit));
  const known = (write) => (value) => (value === null || value === undefined ? '–' : write(value));
  return {
    integer: known((n) => integer.format(n)),
    signed: known((n) => signed.format(n)),
    compact: known((n) => compact.format(n)),
    dollars: known((n) => dollars.format(n)),
    compactDollars: known((n) => few.format(n)),
    moment: known((at) => moment.format(new Date(at))),
    clock: known((at) => clock.format(new Date(at))),
    day: known((at) => day.format(new Date(at))),
    // since tells how far `at` is from `now`, before or after.
    since: known((at) => span(...distance(Date.parse(at), now()))),
    between: (at, from) => span(...distance(at, from)),
  };
}

const now = () => Date.now();

// distance is a time span in its largest fitting unit, rounded towards zero, so
// that nothing is said to be older than it is.
export function distance(at, from) {
  const seconds = Math.trunc((at - from) / 1000);
  const size = Math.abs(seconds);
  if (size < 60) return [seconds, 'second'];
  if (size < 3600) return [Math.trunc(seconds / 60), 'minute'];
  if (size < 48 * 3600) return [Math.trunc(seconds / 3600), 'hour'];
  return [Math.trunc(seconds / 86400), 'day'];
}
