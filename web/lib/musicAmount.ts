// As in training/evaluation/ratings.py and held_out.py.
const MIN_SONGS = 3;
const ENOUGH_SONGS = 10;
const MIN_SECONDS = 20;
const ENOUGH_SECONDS = 180;

/** Whether songs of these lengths in seconds make a twin; `share` is of what makes a good one, 1 at most. */
export function musicAmount(lengths: number[]): { level: "tooLittle" | "fair" | "enough"; seconds: number; share: number } {
  const seconds = lengths.reduce((sum, each) => sum + each, 0);
  const isEnough = lengths.length >= ENOUGH_SONGS && seconds >= ENOUGH_SECONDS;
  const isLittle = lengths.length < MIN_SONGS || seconds < MIN_SECONDS;
  return {
    level: isEnough ? "enough" : isLittle ? "tooLittle" : "fair",
    seconds,
    share: Math.min(1, lengths.length / ENOUGH_SONGS, seconds / ENOUGH_SECONDS),
  };
}
