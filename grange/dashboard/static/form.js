// @ts-check
/** A typed form made from a JSON Schema, and the JSON value that it holds. */

import { h, set, say } from './dom.js';

/** @typedef {any} Schema */
/** @typedef {{element: any, read: () => any}} Field `read` raises InputError */

export class InputError extends Error {}

/** The schema behind references, and without the alternative null. @param {Schema} schema @param {Schema} root @returns {{schema: Schema, nullable: boolean}} */
export function resolved(schema, root) {
  let found = schema ?? {};
  for (let depth = 0; found.$ref && depth < 8; depth += 1) found = root?.$defs?.[String(found.$ref).split('/').pop() ?? ''] ?? {};
  const several = found.anyOf ?? found.oneOf;
  if (several) {
    const rest = several.filter((/** @type {Schema} */ each) => each.type !== 'null');
    if (rest.length === 1) return { schema: resolved(rest[0], root).schema, nullable: rest.length < several.length };
  }
  return { schema: found, nullable: false };
}

/** A type in a few words: `string`, `integer or null`, `list of string`. @param {Schema} given @param {Schema} root @returns {string} */
export function typeName(given, root) {
  const { schema, nullable } = resolved(given, root);
  const name = schema.enum ? schema.enum.map((/** @type {any} */ each) => JSON.stringify(each)).join(' | ') : schema.type === 'array' ? `list of ${typeName(schema.items, root)}` : schema.title && schema.type === 'object' ? schema.title : schema.type ?? 'any';
  return nullable ? `${name} or null` : name;
}

/** What to write for a type. @param {Schema} schema */
function hint(schema) {
  if (schema.type === 'array') return `a JSON list${schema.items?.type ? ` of ${schema.items.type}` : ''}`;
  if (schema.type === 'object') return 'a JSON object';
  return [schema.type ?? 'JSON', schema.format, schema.minimum !== undefined ? `≥ ${schema.minimum}` : '', schema.maximum !== undefined ? `≤ ${schema.maximum}` : ''].filter(Boolean).join(', ');
}

/** The value of a text under a schema. @param {string} text @param {Schema} schema @param {string} name */
export function parsed(text, schema, name) {
  if (schema.type === 'string') return text;
  if (schema.type === 'integer' || schema.type === 'number') {
    const value = Number(text);
    if (text.trim() === '' || !Number.isFinite(value)) throw new InputError(`${name} must be a number.`);
    if (schema.type === 'integer' && !Number.isInteger(value)) throw new InputError(`${name} must be a whole number.`);
    if (schema.type === 'integer' && !Number.isSafeInteger(value)) throw new InputError(`${name} is too large for this form; use grange call.`);
    if (value < (schema.minimum ?? -Infinity)) throw new InputError(`${name} must be at least ${schema.minimum}.`);
    if (value > (schema.maximum ?? Infinity)) throw new InputError(`${name} must be at most ${schema.maximum}.`);
    return value;
  }
  try {
    return JSON.parse(text);
  } catch {
    throw new InputError(`${name} must be ${hint(schema)}.`);
  }
}

/** @param {string} name @param {Schema} given @param {Schema} root @param {boolean} required @returns {Field} */
function field(name, given, root, required) {
  const { schema, nullable } = resolved(given, root);
  const input = control(schema, nullable || !required);
  const usual = given.default ?? schema.default;
  if (usual !== undefined && usual !== null && input.type !== 'checkbox') input.value = typeof usual === 'string' ? usual : JSON.stringify(usual);
  if (input.type === 'checkbox') input.checked = usual === true;
  const problem = h('span', { class: 'problem', role: 'alert' });
  const element = h('label', { class: 'field' }, h('span', { class: 'name' }, name, required ? null : h('span', { class: 'quiet' }, ' optional')), input, h('span', { class: 'quiet hint' }, schema.description ?? (schema.enum || schema.type === 'boolean' ? null : hint(schema))), problem);
  const read = () => {
    say(problem, '');
    set(input, 'aria-invalid', null);
    if (input.type === 'checkbox') return input.checked;
    if (input.value === '' && (schema.type !== 'string' || !required)) {
      if (!required) return undefined;
      if (nullable) return null;
    }
    try {
      return schema.enum ? schema.enum[input.selectedIndex - (required && !nullable ? 0 : 1)] : parsed(input.value, schema, name);
    } catch (error) {
      set(input, 'aria-invalid', 'true');
      say(problem, /** @type {Error} */ (error).message);
      input.focus();
      throw error;
    }
  };
  return { element, read };
}

/** @param {Schema} schema @param {boolean} absent whether it may be left out */
function control(schema, absent) {
  if (schema.enum) return h('select', null, absent ? h('option', { value: '' }, '–') : null, schema.enum.map((/** @type {any} */ each) => h('option', { value: JSON.stringify(each) }, typeof each === 'string' ? each : JSON.stringify(each))));
  if (schema.type === 'boolean') return h('input', { type: 'checkbox' });
  if (schema.type === 'integer' || schema.type === 'number') return h('input', { type: 'text', inputmode: schema.type === 'integer' ? 'numeric' : 'decimal', autocomplete: 'off' });
  if (schema.type === 'string') return h('input', { type: 'text', autocomplete: 'off', spellcheck: 'false', maxlength: schema.maxLength });
  return h('textarea', { rows: 3, spellcheck: 'false' });
}

/** Fields for the properties of an object's schema; `read` gives the object. @param {Schema} schema @returns {Field} */
export function form(schema) {
  const required = new Set(schema.required ?? []);
  const fields = Object.entries(schema.properties ?? {}).map(([name, each]) => /** @type {const} */ ([name, field(name, each, schema, required.has(name))]));
  const element = h('div', { class: 'fields' }, fields.length ? fields.map(([, each]) => each.element) : h('p', { class: 'quiet' }, 'It takes no arguments.'));
  return {
    element,
    read: () => Object.fromEntries(fields.map(([name, each]) => [name, each.read()]).filter(([, value]) => value !== undefined)),
  };
}
