const RATE = 48_000;
const HOP_SECONDS = 0.1;
const HOPS_PER_BLOCK = 4;
const ABSOLUTE_GATE_LUFS = -70;
const RELATIVE_GATE_LU = -10;

const power = (lufs: number): number => 10 ** ((lufs + 0.691) / 10);
const lufs = (meanSquare: number): number => 10 * Math.log10(meanSquare) - 0.691;
const mean = (values: number[]): number => values.reduce((total, value) => total + value, 0) / values.length;

/** The integrated loudness of a file in LUFS, by ITU-R BS.1770-4; null if it is silent. Throws if it cannot be decoded. */
export async function loudnessOf(file: ArrayBuffer): Promise<number | null> {
  const sound = await new OfflineAudioContext(1, 1, RATE).decodeAudioData(file);
  const context = new OfflineAudioContext(sound.numberOfChannels, sound.length, RATE);
  const source = new AudioBufferSourceNode(context, { buffer: sound });
  // The two stages of the K-weighting; WebAudio's Q of a high-pass is in dB.
  const shelf = new BiquadFilterNode(context, { type: "highshelf", frequency: 1681.97, gain: 4 });
  const highPass = new BiquadFilterNode(context, { type: "highpass", frequency: 38.135, Q: 20 * Math.log10(0.5003) });
  source.connect(shelf).connect(highPass).connect(context.destination);
  source.start();
  return gated(hops(await context.startRendering()));
}

/** The power of each tenth of a second, summed over the channels. */
function hops(sound: AudioBuffer): number[] {
  const size = Math.round(sound.sampleRate * HOP_SECONDS);
  const powers = new Array<number>(Math.max(1, Math.floor(sound.length / size))).fill(0);
  for (let channel = 0; channel < sound.numberOfChannels; channel++) {
    const samples = sound.getChannelData(channel);
    powers.forEach((_, hop) => {
      let sum = 0;
      for (const sample of samples.subarray(hop * size, (hop + 1) * size)) sum += sample * sample;
      powers[hop] = (powers[hop] ?? 0) + sum / size;
    });
  }
  return powers;
}

function gated(powers: number[]): number | null {
  const count = Math.max(1, powers.length - HOPS_PER_BLOCK + 1);
  const blocks = Array.from({ length: count }, (_, hop) => mean(powers.slice(hop, hop + HOPS_PER_BLOCK)));
  const audible = blocks.filter((block) => block > power(ABSOLUTE_GATE_LUFS));
  if (audible.length === 0) return null;
  const gate = power(lufs(mean(audible)) + RELATIVE_GATE_LU);
  return lufs(mean(audible.filter((block) => block > gate)));
}
