// A marked box on a picture, as the window has it: a line of the class's colour with a dark edge on both sides, and its name in black on that colour.

/**
 * `unit` is how many of the pen's units a line of the page is; `height` that of the chip, in the same. A chosen one is dashed, and thicker.
 * The chip stays within `[width, height]` of the picture.
 */
export function mark(pen, [x1, y1, x2, y2], { colour, text, unit = 1, height = 18, chosen = false, within }) {
  const line = (chosen ? 3 : 2) * unit;
  pen.setLineDash([]);
  Object.assign(pen, { strokeStyle: 'rgb(0 0 0 / 0.75)', lineWidth: line + 2 * unit });
  pen.strokeRect(x1, y1, x2 - x1, y2 - y1);
  Object.assign(pen, { strokeStyle: colour, lineWidth: line });
  if (chosen) pen.setLineDash([6 * unit, 4 * unit]);
  pen.strokeRect(x1, y1, x2 - x1, y2 - y1);
  pen.setLineDash([]);
  if (!text) return;
  pen.font = `600 ${height * 0.75}px system-ui, sans-serif`;
  pen.textBaseline = 'middle';
  const edge = height / 4;
  const wide = pen.measureText(text).width + 2 * edge;
  const left = Math.max(0, Math.min(x1, within[0] - wide));
  const top = y1 >= height ? y1 - height : Math.min(y2, within[1] - height);
  pen.fillStyle = colour;
  pen.fillRect(left, top, wide, height);
  pen.fillStyle = 'black';
  pen.fillText(text, left + edge, top + height / 2);
}
