// @ts-check
/** The way in: the token that a silo printed, or a name and a password. */

import { ApiError, post } from '../api.js';
import { h, put, say } from '../dom.js';

/** Show the form in place of the page. The address stays, so that the view is there after it. */
export function login() {
  const problem = h('p', { class: 'problem', role: 'alert' });
  const token = h('input', { type: 'password', name: 'token', autocomplete: 'off' });
  const user = h('input', { type: 'text', name: 'user', autocomplete: 'username', spellcheck: 'false', autocapitalize: 'off' });
  const password = h('input', { type: 'password', name: 'password', autocomplete: 'current-password' });
  const send = async (/** @type {any} */ event) => {
    event.preventDefault();
    say(problem, '');
    try {
      await post('/api/login', token.value ? { token: token.value.trim() } : { user: user.value, password: password.value });
      location.reload();
    } catch (error) {
      const status = error instanceof ApiError ? error.status : 0;
      say(problem, status === 401 ? 'The token, or the user and password, are wrong.' : status === 429 ? 'Too many tries. Wait a minute.' : `No login: ${/** @type {Error} */ (error).message}.`);
    }
  };
  const field = (/** @type {string} */ name, /** @type {any} */ input) => h('label', { class: 'field' }, h('span', { class: 'name' }, name), input);
  document.title = 'Log in · grange';
  put(document.body, h('main', { class: 'login', id: 'main' }, h('form', { onsubmit: send }, h('h1', null, 'grange'),
    h('p', { class: 'quiet' }, 'Open the address that the silo printed at its start, or give what is in it after “#token=”.'), field('Token', token),
    h('p', { class: 'or' }, 'or'), field('User', user), field('Password', password), problem, h('div', { class: 'buttons' }, h('button', { class: 'main' }, 'Log in')))));
  token.focus();
}
