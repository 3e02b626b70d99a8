// Elements: making and changing parts of the page. Text is always set as text, never as HTML, and
// what did not change is not touched.

import * as words from './words.js';

const SVG = 'http://www.w3.org/2000/svg';

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) {
      element.setAttribute(name, value === true ? '' : value);
    }
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** An element with attributes and children; strings become text. */
export function make(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** The same in SVG. */
export function draw(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

/** Sets a text, where it is another. */
export function text(element, words) {
  if (element.textContent !== words) element.textContent = words;
}

/** Sets an attribute, where it is another; null takes it away. */
export function attribute(element, name, value) {
  if (value === null || value === undefined || value === false) {
    if (element.hasAttribute(name)) element.removeAttribute(name);
  } else {
    const wanted = value === true ? '' : String(value);
    if (element.getAttribute(name) !== wanted) element.setAttribute(name, wanted);
  }
}

/** Sets the time of a `<time>`: in the viewer's zone, in UTC when pointed at. */
export function moment(element, iso, otherwise = words.NONE) {
  if (!iso) {
    attribute(element, 'datetime', null);
    attribute(element, 'title', null);
    text(element, otherwise);
    return;
  }
  const date = new Date(iso);
  attribute(element, 'datetime', iso);
  attribute(element, 'title', words.utc(date));
  text(element, words.time(date));
}

/** Shows or hides. */
export function shown(element, is) {
  if (element.hidden === is) element.hidden = !is;
}

/** Rows of a list, each known by a key: kept while their item is the same object, changed where
 * it is another, made and removed as items come and go. */
export class Rows {
  #parent;
  #key;
  #make;
  #rows = new Map();

  /** `make(item)` gives `{ root, show(item) }`; `show` is called with every new item. */
  constructor(parent, key, make) {
    this.#parent = parent;
    this.#key = key;
    this.#make = make;
  }

  show(items) {
    const wanted = new Set(items.map(this.#key));
    for (const [key, row] of this.#rows) {
      if (wanted.has(key)) continue;
      row.root.remove();
      this.#rows.delete(key);
    }
    let at = this.#parent.firstElementChild;
    for (const item of items) {
      const { root } = this.#row(this.#key(item), item);
      if (root === at) at = at.nextElementSibling;
      else this.#parent.insertBefore(root, at);
    }
  }

  #row(key, item) {
    let row = this.#rows.get(key);
    if (!row) {
      row = this.#make(item);
      this.#rows.set(key, row);
    }
    if (row.item !== item) {
      row.show(item);
      row.item = item;
    }
    return row;
  }
}
