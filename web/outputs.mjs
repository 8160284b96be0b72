// What both benches do with what they see.

/** How far outputs, arrays of numbers, are at most from those that are expected, one after another, by the largest of each; throws if that is too far. */
export function difference(outputs, expected, most) {
  let [at, difference] = [0, 0];
  for (const data of outputs) {
    let [far, largest] = [0, 0];
    data.forEach((value, i) => {
      far = Math.max(far, Math.abs(value - expected[at + i]));
      largest = Math.max(largest, Math.abs(expected[at + i]));
    });
    difference = Math.max(difference, far / largest);
    at += data.length;
  }
  if (at !== expected.length || !(difference < most)) throw new Error(`${at} values of ${expected.length}, which differ by ${difference}`);
  return difference;
}

/** The one in the middle. */
export function middle(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)];
}
