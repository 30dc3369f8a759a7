// @ts-check
/** Go anywhere by typing: pages, silos, grain types, or a grain as type/key. */

import { get, grainPage, pathOf } from './api.js';
import { h, put, set } from './dom.js';
import { go } from './url.js';

const SHOWN = 12;

/** @typedef {{kind: string, text: string, href?: string, run?: () => void}} Choice */

/** The choices that hold all letters of what is typed, the best first: a beginning before a part. @param {Choice[]} choices @param {string} typed */
export function matching(choices, typed) {
  const wanted = typed.trim().toLowerCase();
  if (!wanted) return choices.slice(0, SHOWN);
  const rank = (/** @type {Choice} */ each) => {
    const text = each.text.toLowerCase();
    if (text.startsWith(wanted)) return 0;
    if (text.includes(wanted)) return 1;
    let at = -1;
    return [...wanted].every((letter) => (at = text.indexOf(letter, at + 1)) >= 0) ? 2 : 9;
  };
  return choices.map((each) => ({ each, place: rank(each) })).filter(({ place }) => place < 9).sort((a, b) => a.place - b.place).slice(0, SHOWN).map(({ each }) => each);
}

/** @param {Choice[]} known pages and acts of the shell @param {string[]} silos */
export function palette(known, silos) {
  if (document.querySelector('dialog.palette')) return;
  let choices = [...known, ...silos.map((name) => ({ kind: 'silo', text: name, href: pathOf('silos', name) }))];
  /** @type {Choice[]} */
  let found = [];
  let at = 0;
  const list = h('ul', { id: 'choices', role: 'listbox', 'aria-label': 'Choices' });
  const input = h('input', { type: 'text', role: 'combobox', 'aria-expanded': 'true', 'aria-controls': 'choices', 'aria-label': 'Go to', placeholder: 'Page, silo, type, or type/key', autocomplete: 'off', spellcheck: 'false', oninput: () => draw(0), onkeydown: (/** @type {KeyboardEvent} */ event) => key(event) });
  const dialog = h('dialog', { class: 'palette', 'aria-label': 'Go to', onclose: () => dialog.remove(), onclick: (/** @type {any} */ event) => { if (event.target === dialog) dialog.close(); } }, input, list);

  /** @param {number} index */
  function draw(index) {
    const typed = input.value.trim();
    const cut = typed.indexOf('/');
    const grain = cut > 0 ? [{ kind: 'grain', text: typed, href: grainPage(typed.slice(0, cut), typed.slice(cut + 1)) }] : [];
    found = [...grain, ...matching(choices, typed)];
    at = Math.min(Math.max(index, 0), Math.max(found.length - 1, 0));
    put(list, found.map((each, i) => h('li', { id: `choice-${i}`, role: 'option', 'aria-selected': String(i === at), onclick: () => take(each) }, h('bdi', null, each.text), h('span', { class: 'quiet' }, each.kind))), found.length ? null : h('li', { class: 'quiet', role: 'option', 'aria-disabled': 'true', 'aria-selected': 'false' }, 'Nothing has this name.'));
    set(input, 'aria-activedescendant', found.length ? `choice-${at}` : null);
  }

  /** @param {KeyboardEvent} event */
  function key(event) {
    if (event.key === 'ArrowDown' || event.key === 'ArrowUp') draw(at + (event.key === 'ArrowDown' ? 1 : -1));
    else if (event.key === 'Enter' && found[at]) take(found[at]);
    else return;
    event.preventDefault();
  }

  /** @param {Choice} choice */
  function take(choice) {
    dialog.close();
    if (choice.run) choice.run();
    else if (choice.href) go(choice.href);
  }

  document.body.append(dialog);
  dialog.showModal();
  draw(0);
  get('/api/types').then((answer) => {
    choices = [...choices, ...(answer.types ?? answer).map((/** @type {any} */ each) => ({ kind: 'type', text: each.type, href: pathOf('grains', each.type) }))];
    if (dialog.open) draw(at);
  }, () => undefined);
}
