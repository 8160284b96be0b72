// A trainer beside the page, which stays live. Told `{ load }` once; `{ stop }` ends it. Tells `{ begun }`, `{ step }`, and `{ ended }` or `{ error }`.
import { Trainer } from './smalti/smalti.js';

let stopped = false;

async function teach(options) {
  const trainer = await Trainer.load(options);
  const { steps, notes, report } = trainer;
  postMessage({ begun: { steps, notes, report } });
  let done = 0;
  let error;
  while (done < steps && !stopped) {
    try {
      const step = await trainer.step();
      done = step.step;
      postMessage({ step });
    } catch (failed) {
      error = failed;
      break;
    }
    await new Promise((next) => { setTimeout(next); }); // let `stop` come through
  }
  if (error) throw error;
  const weights = done > 0 ? await trainer.weights() : undefined;
  postMessage({ ended: { done, weights, config: trainer.config } }, weights ? [weights.buffer] : []);
}

onmessage = ({ data }) => {
  if (data.stop) stopped = true;
  if (data.load) teach(data.load).catch((error) => postMessage({ error: String(error.message ?? error) }));
};
