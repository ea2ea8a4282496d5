"use client";

import { useEffect, useRef } from "react";
import type WaveSurfer from "wavesurfer.js";
import { pageNonce } from "@/lib/nonce";
import { mediaOf, select, usePlayer, type Region, type Side } from "@/lib/player/player";
import type { Playable } from "@/lib/player/playable";
import { soundUrl } from "@/lib/player/sound";
import { useColours } from "./useColours";

const HEIGHT = 48;
const MIN_REGION_SECONDS = 0.1;

type Regions = ReturnType<typeof import("wavesurfer.js/dist/plugins/regions.js").default.create>;
type Drawn = { surfer: WaveSurfer; regions: Regions };

/** The waveform of the sound on a side of the player: a click jumps, and dragging selects a region. */
export function Waveform({ side, sound, peaks }: { side: Side; sound: Playable; peaks: number[] | null }) {
  const container = useRef<HTMLDivElement>(null);
  const drawn = useRef<Drawn | null>(null);
  const region = usePlayer((state) => state.region);
  const shown = useRef(region);
  const { wave, progress, selection } = useColours();
  const { seconds } = sound;

  useEffect(() => {
    const into = container.current;
    if (!into) return;
    let gone = false;
    // Without peaks, wavesurfer decodes the sound. Given another spelling of the URL than the media's, it loads it anew.
    const drawnFrom = peaks ? null : soundUrl(sound).then((url) => new URL(url, window.location.href).href);
    void Promise.all([import("wavesurfer.js"), import("wavesurfer.js/dist/plugins/regions.js"), drawnFrom]).then(
      ([{ default: Surfer }, { default: Regions }, url]) => {
        if (gone) return;
        const regions = Regions.create();
        const surfer = Surfer.create({
          container: into,
          media: mediaOf(side),
          cspNonce: pageNonce(),
          height: HEIGHT,
          barWidth: 2,
          barGap: 1,
          barRadius: 2,
          normalize: true,
          waveColor: wave,
          progressColor: progress,
          cursorColor: progress,
          plugins: [regions],
          ...(peaks ? { peaks: [peaks], duration: seconds } : {}),
          ...(url ? { url } : {}),
        });
        regions.enableDragSelection({ color: selection, minLength: MIN_REGION_SECONDS });
        const take = ({ start, end }: Region): void => {
          shown.current = { start, end };
          select({ start, end });
        };
        regions.on("region-created", (made) => {
          for (const old of regions.getRegions()) if (old !== made) old.remove();
          if (made.start !== shown.current?.start || made.end !== shown.current.end) take(made);
        });
        regions.on("region-updated", take);
        regions.on("region-clicked", (_, event) => {
          event.stopPropagation();
          const box = into.getBoundingClientRect();
          surfer.setTime(((event.clientX - box.left) / box.width) * seconds);
        });
        drawn.current = { surfer, regions };
        surfer.once("ready", () => draw(drawn.current, usePlayer.getState().region, selection));
      },
    );
    return () => {
      gone = true;
      drawn.current?.surfer.destroy();
      drawn.current = null;
    };
    // The sound of a key is the same.
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [side, peaks, sound.id, wave, progress, selection]);

  // A region that was typed, moved by the switch, or cleared.
  useEffect(() => {
    if (region === shown.current || (region?.start === shown.current?.start && region?.end === shown.current?.end)) return;
    shown.current = region;
    draw(drawn.current, region, selection);
  }, [region, selection]);

  return <div ref={container} className="wave" aria-hidden="true" />;
}

function draw(drawn: Drawn | null, region: Region | null, color: string): void {
  drawn?.regions.clearRegions();
  if (region) drawn?.regions.addRegion({ ...region, color, minLength: MIN_REGION_SECONDS });
}
