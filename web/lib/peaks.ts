// Rough enough that an hour of music decodes into little memory, fine enough for the outline.
const RATE = 8000;
// Longer files take more memory to decode than it is worth.
const MAX_BYTES = 200 * 1024 * 1024;

let last: Promise<unknown> = Promise.resolve();

/** The outline of a file's sound: `count` peaks from 0 to 1; null where this browser cannot decode it. One file at a time. */
export function peaksOf(file: File, count: number): Promise<number[] | null> {
  const own = last.then(() => decoded(file, count)).catch(() => null);
  last = own;
  return own;
}

async function decoded(file: File, count: number): Promise<number[] | null> {
  if (file.size > MAX_BYTES) return null;
  const sound = await new OfflineAudioContext(1, 1, RATE).decodeAudioData(await file.arrayBuffer());
  const samples = sound.getChannelData(0);
  const peaks = Array.from({ length: count }, (_, bar) => {
    const end = Math.floor(((bar + 1) * samples.length) / count);
    let peak = 0;
    for (let at = Math.floor((bar * samples.length) / count); at < end; at++) peak = Math.max(peak, Math.abs(samples[at] ?? 0));
    return peak;
  });
  const loudest = Math.max(...peaks, 1e-6);
  return peaks.map((peak) => peak / loudest);
}
