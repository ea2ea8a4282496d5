const LONGEST_STEM = 40; // the service cuts long names, and the number with them

/** The file's name, with a number if it is taken, in whichever case: `master.wav`, `master (2).wav`. It is taken then. */
export function distinctName(name: string, taken: Set<string>): string {
  const [, stem = name, extension = ""] = /^(.+?)(\.[^.]*)?$/s.exec(name) ?? [];
  let found = name;
  for (let number = 2; taken.has(found.toLowerCase()); number++) {
    found = `${stem.slice(0, LONGEST_STEM)} (${number})${extension}`;
  }
  taken.add(found.toLowerCase());
  return found;
}
