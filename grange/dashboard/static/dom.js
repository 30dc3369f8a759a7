// @ts-check
/** Builds elements. Text becomes text nodes only, so that no text from elsewhere is ever markup. */

import { printable, printableLines } from './format.js';

const SVG = 'http://www.w3.org/2000/svg';
const SAFE_LINK = /^(?:\/(?![/\\])|#|\?|https?:\/\/)/;

/** @typedef {Node | string | number | null | undefined | false | any[]} Child a list holds children */
/** @typedef {Record<string, any>} Props `onclick` listens, `--x` sets a custom property, the others are attributes */

/** An element of HTML. @param {string} tag @param {Props | null} [props] @param {...Child} children @returns {any} */
export const h = (tag, props, ...children) => filled(document.createElement(tag), props, children);

/** An element of SVG. @param {string} tag @param {Props | null} [props] @param {...Child} children @returns {any} */
export const s = (tag, props, ...children) => filled(document.createElementNS(SVG, tag), props, children);

/** Replace what is in an element. @param {any} node @param {...Child} children */
export function put(node, ...children) {
  node.replaceChildren(...nodes(node, children));
  return node;
}

/** Set one property. `false`, null and undefined remove an attribute.
 * @param {any} node @param {string} name @param {any} value */
export function set(node, name, value) {
  if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
  else if (name.startsWith('--')) node.style.setProperty(name, String(value));
  else if (value === false || value === null || value === undefined) node.removeAttribute(name);
  else if (name === 'style' || name === 'srcdoc') throw new Error(`${name} is not allowed`);
  else if (name !== 'href' || SAFE_LINK.test(value)) node.setAttribute(name, value === true ? '' : String(value));
}

/** Set a text if it differs. @param {Element} node @param {string | number} value */
export function say(node, value) {
  const text = node.tagName === 'PRE' ? printableLines(value) : printable(value);
  if (node.textContent !== text) node.textContent = text;
}

/** @param {any} node @param {Props | null | undefined} props @param {Child[]} children */
function filled(node, props, children) {
  for (const [name, value] of Object.entries(props ?? {})) set(node, name, value);
  node.append(...nodes(node, children));
  return node;
}

/** @param {any} parent @param {Child[]} children @returns {(Node | string)[]} */
function nodes(parent, children) {
  const text = parent.tagName === 'PRE' ? printableLines : printable;
  const given = /** @type {any[]} */ (children).flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false);
  return given.map((child) => (child instanceof Node ? child : text(child)));
}
