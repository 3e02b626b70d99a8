// Marks: small signs, each of a shape of its own, so that none depends on its colour.

const SVG = 'http://www.w3.org/2000/svg';

/** A shape in a square of 12, and whether it is drawn or filled. */
const SHAPES = {
  live: ['filled', 'M6 1.5a4.5 4.5 0 1 0 0 9a4.5 4.5 0 1 0 0-9Z'],
  late: ['drawn', 'M6 1.2a4.8 4.8 0 1 0 0 9.6a4.8 4.8 0 1 0 0-9.6M6 3.4V6.2l2 1.3'],
  silent: ['drawn', 'M6 1.2a4.8 4.8 0 1 0 0 9.6a4.8 4.8 0 1 0 0-9.6M2.7 9.3l6.6-6.6'],
  suppressed: ['filled', 'M2.4 1.5h2.4v9H2.4ZM7.2 1.5h2.4v9H7.2Z'],
  ended: ['filled', 'M2 2h8v8H2Z'],
  unknown: ['drawn', 'M3.8 4.2C3.8 2.6 4.9 1.8 6 1.8s2.3.8 2.3 2.2C8.3 5.7 6 5.7 6 7.5M6 10.2v.1'],
  fine: ['drawn', 'M2 6.6l2.8 2.8L10 3.2'],
  odd: ['drawn', 'M6 1.3L11 10.5H1ZM6 4.8v2.4M6 8.9v.1'],
  bad: ['drawn', 'M3.9 1h4.2L11 3.9v4.2L8.1 11H3.9L1 8.1V3.9ZM4.3 4.3l3.4 3.4M7.7 4.3L4.3 7.7'],
  rising: ['drawn', 'M2.5 9.5L9 3M4.2 2.6h5.2v5.2'],
  steady: ['drawn', 'M1.5 6H10M7.2 3.2L10 6L7.2 8.8'],
  falling: ['drawn', 'M2.5 2.5L9 9M4.2 9.4h5.2V4.2'],
  none: ['drawn', ''],
  alert: ['filled', 'M6 .5L11.5 6L6 11.5L.5 6ZM5.3 3.2h1.4v3.4H5.3ZM5.3 7.5h1.4v1.4H5.3Z'],
};

const BLANK = document.createElementNS(SVG, 'svg');
BLANK.setAttribute('viewBox', '0 0 12 12');
BLANK.setAttribute('aria-hidden', 'true');
BLANK.append(document.createElementNS(SVG, 'path'));

/** A mark that was made; `says` is for those who do not see it, where no words stand beside it. */
export class Mark {
  root;
  #path;
  #name = null;
  #says = null;

  /** `root` is a blank mark that is somewhere already. */
  constructor(name, says = null, root = Mark.blank()) {
    this.root = root;
    this.#path = root.firstChild;
    this.show(name, says);
  }

  /** One that shows nothing yet. There are thousands: to copy one is cheaper than to make it. */
  static blank() {
    return BLANK.cloneNode(true);
  }

  show(name, says = null) {
    if (name !== this.#name) {
      this.#name = name;
      const [how, shape] = SHAPES[name] ?? SHAPES.unknown;
      this.root.setAttribute('class', `mark mark-${how} mark-${name}`);
      this.#path.setAttribute('d', shape);
    }
    if (says !== this.#says) this.#tell(says);
  }

  #tell(says) {
    this.#says = says;
    if (says) {
      this.root.removeAttribute('aria-hidden');
      this.root.setAttribute('role', 'img');
      this.root.setAttribute('aria-label', says);
    } else {
      this.root.setAttribute('aria-hidden', 'true');
      this.root.removeAttribute('role');
      this.root.removeAttribute('aria-label');
    }
  }
}
