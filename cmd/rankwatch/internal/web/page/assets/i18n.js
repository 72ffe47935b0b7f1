import en from './en.js';
import zh from './zh.js';

export const LANGUAGES = { en: { dictionary: en, own: 'English' }, 'zh-CN': { dictionary: zh, own: '中文' } };

// pick is the first of the reader's languages that the page speaks, else English.
export function pick(preferred, chosen) {
  if (chosen && LANGUAGES[chosen]) return chosen;
  for (const tag of preferred) {
    const base = String(tag).toLowerCase().split('-')[0];
    if (base === 'zh') return 'zh-CN';
    if (base === 'en') return 'en';
  }
  return 'en';
}

// translator gives t(key, values). `{x}` in a text is replaced by values.x,
// numbers as the language writes them; a text with plural forms goes by
// values.count. t.or(key, otherwise) is for words that come from outside, which
// may be newer than the page.
export function translator(language) {
  const { dictionary } = LANGUAGES[language];
  const plural = new Intl.PluralRules(language);
  const number = new Intl.NumberFormat(language);
  const fill = (text, values) =>
    text.replace(/\{(\w+)\}/g, (whole, name) => {
      const value = values[name];
      if (value === undefined) return whole;
      return typeof value === 'number' ? number.format(value) : String(value);
    });
  const t = (key, values = {}) => {
    let text = dictionary[key];
    if (text === undefined) return key;
    if (typeof text === 'object') text = text[plural.select(values.count)] ?? text.other;
    return fill(text, values);
  };
  t.or = (key, otherwise, values) => (dictionary[key] === undefined ? otherwise : t(key, values));
  t.language = language;
  return t;
}

// period is the span of time that a board covers, in words.
export const period = (t, p) => (p ? t.or(`period.${p.type}`, `${p.type} ${p.value}`, { value: p.value }) : t('period.none'));

// places are how many ranks a board has, and how far down its members may go.
export const places = (t, { top, margin }) => (margin > 0 ? t('lists.topMargin', { top, leave: top + margin }) : t('lists.top', { top }));

// schedule is the worker's own words, `every 1h30m`, of which times are told in the
// reader's.
export function schedule(t, text) {
  const parts = /^every ((?:\d+(?:\.\d+)?[hms])+)$/.exec(text)?.[1].match(/[\d.]+[hms]/g);
  if (!parts) return text;
  return t('lists.every', { span: parts.map((p) => t(`span.${p.at(-1)}`, { n: p.slice(0, -1) })).join(t('span.join')) });
}
