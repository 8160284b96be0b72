// A curve that grows: what was measured faintly, its running mean in full, the y axis by the logarithm.

/** Draws `values`, of which there will be `total`, into a canvas, in the colours of the page. */
export function drawCurve(canvas, values, total) {
  const { clientWidth: width, clientHeight: height } = canvas;
  const scale = window.devicePixelRatio || 1;
  if (width === 0) return;
  Object.assign(canvas, { width: Math.round(width * scale), height: Math.round(height * scale) });
  const pen = canvas.getContext('2d');
  pen.scale(scale, scale);
  const style = getComputedStyle(canvas);
  const [line, soft, accent] = ['--line', '--soft', '--accent'].map((name) => style.getPropertyValue(name));
  const [left, right, top, bottom] = [44, 8, 10, 20];
  pen.font = '12px system-ui, sans-serif';
  pen.fillStyle = soft;
  pen.strokeStyle = line;
  const positive = values.filter((v) => v > 0);
  const [most, least] = [Math.max(...positive, 1e-6) * 1.1, Math.min(...positive, Math.max(...positive, 1)) / 1.1];
  const [high, low] = [Math.log(most), Math.min(Math.log(least), Math.log(most) - Math.LN2)];
  const x = (i) => left + (width - left - right) * (total > 1 ? i / (total - 1) : 0);
  const y = (v) => top + (height - top - bottom) * (high - Math.log(Math.max(v, Math.exp(low)))) / (high - low);
  pen.textBaseline = 'middle';
  pen.textAlign = 'right';
  for (let i = 0; i <= 2; i += 1) {
    const value = Math.exp(high + (low - high) * i / 2);
    pen.beginPath();
    pen.moveTo(left, y(value));
    pen.lineTo(width - right, y(value));
    pen.stroke();
    pen.fillText(value.toPrecision(2), left - 6, y(value));
  }
  pen.textBaseline = 'bottom';
  pen.textAlign = 'left';
  pen.fillText('step 1', left, height - 2);
  pen.textAlign = 'right';
  pen.fillText(String(total), width - right, height - 2);
  const way = (points, alpha, thick) => {
    Object.assign(pen, { globalAlpha: alpha, lineWidth: thick, strokeStyle: accent });
    pen.beginPath();
    points.forEach((v, i) => pen.lineTo(x(i), y(v)));
    pen.stroke();
  };
  way(values, 0.5, 1);
  way(means(values), 1, 2);
  pen.globalAlpha = 1;
}

/** The running mean, over ten or so. */
export function means(values) {
  const share = 2 / (1 + 10);
  // the first few count alike
  let mean = 0;
  return values.map((v, i) => { mean += Math.max(share, 1 / (i + 1)) * (v - mean); return mean; });
}
