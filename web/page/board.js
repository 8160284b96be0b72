// A board: a picture on which boxes are drawn with the mouse or a finger. A tap chooses the box that it meets, or none.

import { mark } from './marks.js';

export class Board {
  #canvas;
  #start;
  #drawn;

  /** `drawn` and `chosen` are told of a box; `colourOf` gives a box's colour. */
  constructor(canvas, { drawn, chosen, colourOf }) {
    this.#canvas = canvas;
    this.colourOf = colourOf;
    canvas.onpointerdown = (event) => {
      if (!this.entry) return;
      canvas.setPointerCapture(event.pointerId);
      this.#start = this.#place(event);
    };
    canvas.onpointermove = (event) => {
      if (!this.#start) return;
      this.#drawn = this.#box(this.#start, this.#place(event));
      this.show();
    };
    canvas.onpointerup = (event) => {
      if (!this.#start) return;
      const box = this.#box(this.#start, this.#place(event));
      const [start, least] = [this.#start, 4 * this.#pixel()];
      [this.#start, this.#drawn] = [undefined, undefined];
      if (box[2] - box[0] >= least && box[3] - box[1] >= least) drawn(box);
      else chosen(this.#at(start));
      this.show();
    };
    canvas.onpointercancel = () => {
      [this.#start, this.#drawn] = [undefined, undefined];
      this.show();
    };
    new ResizeObserver(() => this.show()).observe(canvas.parentElement);
  }

  /** Shows a picture: `{ bitmap, objects }`; `chosen` is one of its objects. */
  set(entry, chosen) {
    this.entry = entry;
    this.chosen = chosen;
    this.show();
  }

  show() {
    const canvas = this.#canvas;
    canvas.hidden = !this.entry;
    if (!this.entry) return;
    const { bitmap, objects } = this.entry;
    const room = Math.min(canvas.parentElement.clientWidth, 640);
    if (room === 0) return;
    const shown = Math.min(room / bitmap.width, 0.6 * innerHeight / bitmap.height);
    const [width, height] = [bitmap.width * shown, bitmap.height * shown];
    const dots = window.devicePixelRatio || 1;
    Object.assign(canvas, { width: Math.round(width * dots), height: Math.round(height * dots) });
    Object.assign(canvas.style, { width: `${width}px`, height: `${height}px` });
    const pen = canvas.getContext('2d');
    pen.imageSmoothingEnabled = shown < 3;
    pen.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    pen.scale(dots, dots);
    for (const object of objects) this.#mark(pen, object.box, this.colourOf(object), object.name, object === this.chosen);
    if (this.#drawn) this.#mark(pen, this.#drawn, '#fff', '', true);
  }

  #mark(pen, box, colour, name, chosen) {
    const { clientWidth, clientHeight } = pen.canvas;
    mark(pen, box.map((v) => v / this.#pixel()), { colour, text: name, chosen, within: [clientWidth, clientHeight] });
  }

  /** Pixels of the picture in one of the page. */
  #pixel() { return this.entry.bitmap.width / this.#canvas.getBoundingClientRect().width; }

  #place(event) {
    const { left, top } = this.#canvas.getBoundingClientRect();
    const { width, height } = this.entry.bitmap;
    const within = (v, most) => Math.max(0, Math.min(most, v * this.#pixel()));
    return [within(event.clientX - left, width), within(event.clientY - top, height)];
  }

  #box([ax, ay], [bx, by]) { return [Math.min(ax, bx), Math.min(ay, by), Math.max(ax, bx), Math.max(ay, by)]; }

  /** The smallest box at a place. */
  #at([x, y]) {
    const size = ({ box: [x1, y1, x2, y2] }) => (x2 - x1) * (y2 - y1);
    const meets = ({ box: [x1, y1, x2, y2] }) => x >= x1 && x <= x2 && y >= y1 && y <= y2;
    return this.entry.objects.filter(meets).sort((a, b) => size(a) - size(b))[0];
  }
}
