// @ts-check
/** The address is the state of a view: its path says what is shown, its query how. */

/** The value of a parameter, or "". @param {string} name */
export const asked = (name) => new URLSearchParams(location.search).get(name) ?? '';

/** All parameters. @returns {Record<string, string>} */
export const allAsked = () => Object.fromEntries(new URLSearchParams(location.search));

/** Change parameters of this view; an empty value removes one. `step`: Back undoes it.
 * @param {Record<string, string | number | boolean>} values @param {boolean} [step] */
export function ask(values, step = false) {
  const query = new URLSearchParams(location.search);
  for (const [name, value] of Object.entries(values)) {
    if (value === '' || value === false) query.delete(name);
    else query.set(name, value === true ? '1' : String(value));
  }
  const text = query.toString();
  const target = location.pathname + (text ? `?${text}` : '');
  if (target === location.pathname + location.search) return;
  if (step) history.pushState(null, '', target);
  else history.replaceState(null, '', target);
}

/** Go to another view. @param {string} target a path of this origin @param {boolean} [replace] */
export function go(target, replace = false) {
  if (replace) history.replaceState(null, '', target);
  else history.pushState(null, '', target);
  dispatchEvent(new PopStateEvent('popstate'));
}

/** The path of the view in parts; null when it is not well formed. @returns {string[] | null} */
export function parts() {
  try {
    return location.pathname.split('/').filter((part) => part !== '').map(decodeURIComponent);
  } catch {
    return null;
  }
}
