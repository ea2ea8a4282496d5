export type Point = readonly [step: number, loss: number];

const WIDTH = 320;
const HEIGHT = 96;

/** Loss over steps: of what is trained on, and of what is held out. */
export function Curve({ loss, heldOut, steps }: { loss: Point[]; heldOut: Point[]; steps: number }) {
  const all = [...loss, ...heldOut].map(([, value]) => value);
  if (all.length < 2) return null;
  const low = Math.min(...all);
  const high = Math.max(...all);
  const line = (points: Point[]): string =>
    points
      .map(([step, value]) => {
        const x = (step / Math.max(steps, 1)) * WIDTH;
        const y = high > low ? ((high - value) / (high - low)) * (HEIGHT - 8) + 4 : HEIGHT / 2;
        return `${x.toFixed(1)},${y.toFixed(1)}`;
      })
      .join(" ");
  const last = loss.at(-1)?.[1];
  const lastHeldOut = heldOut.at(-1)?.[1];
  const said = `Loss${last === undefined ? "" : `, now ${last.toFixed(3)}`}${lastHeldOut === undefined ? "" : `; on held-out music ${lastHeldOut.toFixed(3)}`}`;
  return (
    <figure className="curve">
      <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label={said} preserveAspectRatio="none">
        <polyline points={line(loss)} className="line" />
        <polyline points={line(heldOut)} className="line heldout" />
      </svg>
      <figcaption>
        {said}. From {high.toFixed(3)} down to {low.toFixed(3)}.
      </figcaption>
    </figure>
  );
}
