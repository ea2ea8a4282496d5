import { ImageResponse } from "next/og";
import { storedPeaks, storedTrack } from "@/lib/server/tracks";

export const size = { width: 1200, height: 630 };
export const contentType = "image/png";

const BARS = 100;
const HEIGHT = 320;
// For other characters the renderer asks a font service on the internet, which would learn titles.
const NOT_IN_FONT = /[^\u0020-\u007e\u00a1-\u017f\u2013\u2014\u2018-\u201e\u2026]/g;

/** A track's waveform and title, for links to its page. */
export default async function Image({ params }: { params: Promise<{ id: string }> }) {
  const id = decodeURIComponent((await params).id);
  const [track, peaks] = await Promise.all([storedTrack(id), storedPeaks(id)]).catch(() => [null, []] as const);
  return new ImageResponse(
    <div
      style={{
        display: "flex",
        flexDirection: "column",
        justifyContent: "space-between",
        width: "100%",
        height: "100%",
        padding: 60,
        color: "#eef2f8",
        background: "#10141c",
      }}
    >
      <div style={{ display: "flex", fontSize: 54 }}>{(track?.title ?? track?.prompt ?? "").replace(NOT_IN_FONT, " ").slice(0, 90)}</div>
      <div style={{ display: "flex", alignItems: "center", justifyContent: "space-between", height: HEIGHT }}>
        {bars(peaks).map((peak, bar) => (
          <div key={bar} style={{ width: 7, height: Math.max(4, peak * HEIGHT), borderRadius: 4, background: "#ffb454" }} />
        ))}
      </div>
      <div style={{ display: "flex", fontSize: 34, color: "#ffb454" }}>Producer Twin</div>
    </div>,
    size,
  );
}

function bars(peaks: readonly number[]): number[] {
  const loudest = Math.max(...peaks, 0.001);
  const part = peaks.length / BARS;
  return Array.from(
    { length: BARS },
    (_, bar) => Math.max(0, ...peaks.slice(Math.floor(bar * part), Math.ceil((bar + 1) * part))) / loudest,
  );
}
