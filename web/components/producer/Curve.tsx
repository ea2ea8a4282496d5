"use client";

import { useFormatter, useTranslations } from "next-intl";
import { useId } from "react";
import type { Point } from "@/lib/report";

const WIDTH = 400;
const HEIGHT = 200;
const LEFT = 44;
const BOTTOM = 168;
const TOP = 12;
const RIGHT = 388;
const TICKS = 4;

type Props = { loss: Point[]; heldOut: Point[]; steps: number; kept: number | null };

/** Loss over steps, of the music that is trained on and of the songs that are held out. `kept` is the step that is the twin. */
export function Curve({ loss, heldOut, steps, kept }: Props) {
  const t = useTranslations("curve");
  const format = useFormatter();
  const id = useId();
  const all = [...loss, ...heldOut].map(([, value]) => value);
  if (all.length < 2) return null;
  const [low, high] = [Math.min(...all), Math.max(...all)];
  const last = Math.max(steps, ...[...loss, ...heldOut].map(([step]) => step), 1);
  const x = (step: number): number => LEFT + (step / last) * (RIGHT - LEFT);
  const y = (value: number): number => (high > low ? TOP + ((high - value) / (high - low)) * (BOTTOM - TOP) : (TOP + BOTTOM) / 2);
  const line = (points: Point[]): string => points.map(([step, value]) => `${x(step).toFixed(1)},${y(value).toFixed(1)}`).join(" ");
  const number = (value: number): string => format.number(value, { minimumFractionDigits: 3, maximumFractionDigits: 3 });
  const shares = high > low ? Array.from({ length: TICKS + 1 }, (_, tick) => tick / TICKS) : [0];
  const [now, nowHeldOut] = [loss.at(-1)?.[1], heldOut.at(-1)?.[1]];
  return (
    <figure className="curve" aria-labelledby={`${id}title`}>
      <figcaption id={`${id}title`}>{t("title")}</figcaption>
      <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} aria-hidden="true">
        {shares.map((share) => {
          const value = low + share * (high - low);
          return (
            <g key={share}>
              <line className="guide" x1={LEFT} x2={RIGHT} y1={y(value)} y2={y(value)} />
              <text x={LEFT - 6} y={y(value) + 4} textAnchor="end">
                {number(value)}
              </text>
            </g>
          );
        })}
        {[0, 0.5, 1].map((share) => (
          <text key={share} x={x(share * last)} y={BOTTOM + 16} textAnchor={share === 0 ? "start" : share === 1 ? "end" : "middle"}>
            {format.number(Math.round(share * last))}
          </text>
        ))}
        <text x={(LEFT + RIGHT) / 2} y={HEIGHT - 3} textAnchor="middle">
          {t("steps")}
        </text>
        {kept !== null && <line className="kept" x1={x(kept)} x2={x(kept)} y1={TOP} y2={BOTTOM} />}
        <polyline points={line(loss)} className="line" />
        <polyline points={line(heldOut)} className="line heldout" />
      </svg>
      <ul className="legend">
        {now !== undefined && <li className="trained">{t("trained", { value: number(now) })}</li>}
        {nowHeldOut !== undefined && <li className="heldout">{t("heldOut", { value: number(nowHeldOut) })}</li>}
        {kept !== null && <li className="kept">{t("kept", { step: kept })}</li>}
      </ul>
    </figure>
  );
}
