// @ts-check
/** An act on the cluster: what it would do, the reason, the confirmation, the outcome. An outcome that is not known is said. */

import { ApiError, post } from './api.js';
import { h, put, say } from './dom.js';
import { listed, printable } from './format.js';
import { InputError } from './form.js';
import { link, section } from './parts.js';

const PATIENCE = 35_000; // the server gives the silos 30 s

/** @typedef {{action: string, target: string, title: string, verb: string, silo?: string, values?: any, form?: import('./form.js').Field | null,
 *   aim?: (values: any) => [string, any], named?: string, done?: (answer: any) => void}} Act
 * `verb` names the button. `named`: the text that must be typed to confirm. `aim`: target and values from what the form gave. `values`: those without a form. */

/** Buttons for acts. One that the reader may not do is not shown, and a line says so.
 * @param {import('./main.js').Context} ctx @param {Act[]} acts */
export function actions(ctx, acts) {
  const may = acts.filter((act) => ctx.can(act.action));
  const rest = acts.filter((act) => !ctx.can(act.action)).map((act) => act.verb.toLowerCase());
  return h('div', { class: 'acts' }, may.map((act) => h('button', { type: 'button', onclick: () => open(act) }, `${act.verb} …`)),
    rest.length ? h('span', { class: 'quiet' }, may.length ? `Not for the role ${ctx.me.role}, or switched off: ${listed(rest)}.` : `Acts need another role than ${ctx.me.role}, or are switched off.`) : null);
}

/** @param {Act} act */
export function open(act) {
  const steps = h('div', { class: 'steps' });
  const dialog = h('dialog', { class: 'act', 'aria-label': act.title, onclose: () => dialog.remove() }, h('h2', null, act.title), steps);
  document.body.append(dialog);
  dialog.showModal();
  if (act.form) ask(dialog, steps, act);
  else preview(dialog, steps, act, act.values);
}

/** @param {Act} act @param {any} values @param {Record<string, any>} more */
const question = (act, values, more) => ({ action: act.action, target: act.target, ...(values === undefined ? {} : { values }), ...(act.silo ? { silo: act.silo } : {}), ...more });

/** @param {any} dialog @param {string} [word] */
const shut = (dialog, word = 'Cancel') => h('button', { type: 'button', onclick: () => dialog.close() }, word);

/** The form comes first. @param {any} dialog @param {any} steps @param {Act} act */
function ask(dialog, steps, act) {
  put(steps, h('form', { method: 'dialog', onsubmit: (/** @type {any} */ event) => {
    event.preventDefault();
    try {
      const given = act.form?.read();
      const [target, values] = act.aim?.(given) ?? [act.target, given];
      preview(dialog, steps, { ...act, target }, values);
    } catch (error) {
      if (!(error instanceof InputError)) throw error;
    }
  } }, act.form?.element, h('div', { class: 'buttons' }, shut(dialog), h('button', { class: 'main' }, 'Preview'))));
}

/** @param {any} dialog @param {any} steps @param {Act} act @param {any} values */
async function preview(dialog, steps, act, values) {
  put(steps, h('p', { class: 'quiet' }, 'Asking what it would do …'), h('div', { class: 'buttons' }, shut(dialog)));
  try {
    const answer = await post('/api/act', question(act, values, { reason: '', preview: true }));
    if (answer.outcome === 'refused') return told(dialog, steps, act, answer);
    return confirm(dialog, steps, act, values, answer);
  } catch (error) {
    return put(steps, h('p', { class: 'problem' }, `It cannot be previewed: ${/** @type {Error} */ (error).message}.`), h('p', { class: 'quiet' }, 'Nothing was done.'),
      h('div', { class: 'buttons' }, act.form ? h('button', { type: 'button', onclick: () => ask(dialog, steps, act) }, 'Back') : null, shut(dialog, 'Close')));
  }
}

/** @param {any} dialog @param {any} steps @param {Act} act @param {any} values @param {any} answer */
function confirm(dialog, steps, act, values, answer) {
  const reason = h('input', { type: 'text', required: true, maxlength: 500, autocomplete: 'off' });
  const name = act.named ? h('input', { type: 'text', required: true, autocomplete: 'off', spellcheck: 'false' }) : null;
  const problem = h('p', { class: 'problem', role: 'alert' });
  const send = (/** @type {any} */ event) => {
    event.preventDefault();
    if (!reason.value.trim()) return say(problem, 'Give a reason: it is kept with the act.');
    if (name && name.value !== act.named) return say(problem, `Type ${act.named} to confirm.`);
    return perform(dialog, steps, act, values, { reason: reason.value.trim(), expect: answer.expect ?? '' });
  };
  put(steps, h('p', { class: 'what' }, answer.text),
    values === undefined || values === null ? null : h('pre', { class: 'values' }, JSON.stringify(values, null, 2)),
    h('form', { method: 'dialog', novalidate: true, onsubmit: send },
      h('label', { class: 'field' }, h('span', { class: 'name' }, 'Reason'), reason, h('span', { class: 'quiet hint' }, 'kept in the audit with your name')),
      name ? h('label', { class: 'field' }, h('span', { class: 'name' }, `Type ${printable(act.named)} to confirm`), name) : null, problem,
      h('div', { class: 'buttons' }, shut(dialog), h('button', { class: 'main' }, act.verb))));
  reason.focus();
}

/** What an error says of an act that was sent: only an answer of the server tells that it was refused. @param {unknown} error */
export const outcomeOf = (error) => (error instanceof ApiError && error.status >= 400 && error.status < 500 ? 'refused' : 'unknown');

/** @param {any} dialog @param {any} steps @param {Act} act @param {any} values @param {Record<string, any>} more */
async function perform(dialog, steps, act, values, more) {
  put(steps, h('p', { class: 'quiet' }, 'Done at once or in a while; the outcome comes here …'));
  try {
    told(dialog, steps, act, await post('/api/act', question(act, values, more), PATIENCE));
  } catch (error) {
    const text = /** @type {Error} */ (error).message;
    told(dialog, steps, act, { outcome: outcomeOf(error), text }, error instanceof ApiError && error.status === 409 ? h('button', { type: 'button', onclick: () => preview(dialog, steps, act, values) }, 'Preview again') : null);
  }
}

const OUTCOMES = {
  done: ['Done.', 'good'],
  refused: ['Refused: nothing was done.', 'moving'],
  failed: ['It was tried and failed.', 'act'],
  unknown: ['Outcome unknown: it may have been done, or not.', 'act'],
};

/** @param {any} dialog @param {any} steps @param {Act} act @param {any} answer @param {any} [more] */
function told(dialog, steps, act, answer, more = null) {
  const [words, tone] = OUTCOMES[/** @type {keyof typeof OUTCOMES} */ (answer.outcome)] ?? OUTCOMES.unknown;
  put(steps, h('div', { role: 'status' }, h('p', { class: `outcome ${tone}` }, words), answer.text ? h('p', null, answer.text) : null),
    answer.outcome === 'unknown' ? h('p', { class: 'quiet' }, 'Look before you repeat it: ', link('/actions', 'Actions'), ' shows what the silos did.') : null,
    answer.result ? h('pre', { class: 'values' }, pretty(answer.result)) : null,
    h('div', { class: 'buttons' }, more, shut(dialog, 'Close')));
  dialog.querySelector('.buttons button')?.focus();
  if (answer.outcome === 'done') act.done?.(answer);
}

/** JSON, laid out; other text as it is. @param {unknown} value */
export function pretty(value) {
  if (typeof value !== 'string') return JSON.stringify(value, null, 2);
  try {
    return JSON.stringify(JSON.parse(value), null, 2);
  } catch {
    return value;
  }
}

/** A section of acts. @param {import('./main.js').Context} ctx @param {Act[]} acts */
export const actSection = (ctx, acts) => section('Acts', actions(ctx, acts));
