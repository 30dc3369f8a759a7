// @ts-check
/** The small pieces of every page: heads, sections, facts, ids, states of silos, links. */

import { grainPage, pathOf } from './api.js';
import { h, put, say } from './dom.js';
import { middle } from './format.js';

/** @typedef {import('./dom.js').Child} Child */

/** A page: its head with the way to it, and its parts. @param {{title: Child, over?: Child[], tools?: Child, note?: Child}} head @param {...Child} parts */
export const sheet = ({ title, over = [], tools = null, note = null }, ...parts) => h('div', { class: 'sheet' },
  h('header', { class: 'head' },
    h('div', { class: 'titles' }, over.length ? h('nav', { class: 'over', 'aria-label': 'Above this page' }, over.map((each) => [each, h('span', { 'aria-hidden': 'true' }, ' / ')])) : null, h('h1', { tabindex: '-1' }, title)),
    note ? h('div', { class: 'note' }, note) : null, tools ? h('div', { class: 'headtools' }, tools) : null),
  parts);

/** @param {Child} title @param {...Child} parts */
export const section = (title, ...parts) => h('section', null, h('h2', null, title), parts);

/** @param {string} href @param {...Child} children */
export const link = (href, ...children) => h('a', { href }, children);

/** Names and values in pairs. A pair without a value is left out. @param {[string, Child][]} pairs */
export const facts = (pairs) => h('dl', { class: 'facts' }, pairs.filter(([, value]) => value !== null && value !== undefined && value !== '').map(([name, value]) => h('div', null, h('dt', null, name), h('dd', null, value))));

/** Facts that change: a value is drawn anew only when its text differs, so that the focus and a selection stay. */
export class LiveFacts {
  constructor() {
    this.element = h('div');
    this.names = '';
  }

  /** @param {[string, Child][]} pairs */
  update(pairs) {
    const fresh = facts(pairs);
    const names = [...fresh.querySelectorAll('dt')].map((each) => each.textContent).join();
    if (names !== this.names) put(this.element, fresh);
    else {
      const shown = this.element.querySelectorAll('dd');
      fresh.querySelectorAll('dd').forEach((/** @type {any} */ each, /** @type {number} */ i) => {
        if (each.textContent.replace('copy', '') !== shown[i].textContent.replace(/copied|copy/, '')) shown[i].replaceWith(each);
      });
    }
    this.names = names;
  }
}

/** An id: monospace, its middle left out if long, in its own direction. @param {string} text @param {number} [most] */
export const id = (text, most = 48) => h('bdi', { class: 'id', title: text.length > most ? text : null }, text === '' ? '(empty)' : middle(text, most));

/** An id with a button that copies it. @param {string} text @param {number} [most] */
export function copyable(text, most = 64) {
  const button = h('button', {
    type: 'button', class: 'small copy', 'aria-label': `Copy ${middle(text, 30)}`,
    onclick: async () => {
      await navigator.clipboard.writeText(text).then(() => say(button, 'copied'), () => say(button, 'not copied'));
      setTimeout(() => say(button, 'copy'), 1500);
    },
  }, 'copy');
  return h('span', { class: 'copyable' }, id(text, most), button);
}

const SHAPES = { active: '●', ok: '●', ready: '●', joining: '▷', leaving: '◁', dead: '✕', failed: '✕', silent: '○', unreachable: '○', lost: '✕', fenced: '■', cordoned: '■', warning: '▲', unknown: '?' };
const TONES = { active: 'good', ok: 'good', ready: 'good', joining: 'moving', leaving: 'moving', warning: 'moving', cordoned: 'moving', fenced: 'act', lost: 'act', failed: 'act', unreachable: 'act' };

/** A state as word, shape and colour. @param {string} word @param {string} [as] the known state it is drawn as */
export function status(word, as = word) {
  const key = /** @type {keyof typeof SHAPES} */ (as.toLowerCase());
  const tone = TONES[/** @type {keyof typeof TONES} */ (key)] ?? 'quiet';
  return h('span', { class: `status ${tone}` }, h('span', { class: 'shape', 'aria-hidden': 'true' }, SHAPES[key] ?? '○'), word);
}

/** @param {string} name */
export const siloLink = (name) => (name ? link(pathOf('silos', name), name) : '–');

/** @param {string} type */
export const typeLink = (type) => h('a', { href: pathOf('grains', type), class: 'id' }, type);

/** @param {string} type @param {string} key @param {number} [most] */
export const keyLink = (type, key, most = 48) => h('a', { href: grainPage(type, key), title: key.length > most ? key : null }, id(key, most));

/** Where to read what to do: a page of the runbooks. @param {string} name */
export function runbook(name) {
  if (!name) return null;
  return h('a', { href: pathOf('runbooks', name), 'aria-label': `Runbook ${name}` }, 'runbook');
}

/** A bar of parts with a text: how a number is spread. @param {[string, number][]} parts @param {number} [all] */
export function shares(parts, all) {
  const total = all ?? parts.reduce((sum, [, size]) => sum + size, 0);
  const bar = h('span', { class: 'shares', 'aria-hidden': 'true' });
  parts.forEach(([, size], i) => put(bar, ...bar.childNodes, h('i', { class: `tone-${(i % 8) + 1}`, '--size': total ? size / total : 0 })));
  return bar;
}
