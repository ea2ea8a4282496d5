import vitals from "eslint-config-next/core-web-vitals";
import typescript from "eslint-config-next/typescript";

/** What reads the same in every language. */
const SAME_IN_ALL_LANGUAGES = ["Producer Twin", "kHz", "·", "–", "×", "/", ":", ",", "(", ")", "▾", "▸"];

const config = [
  ...vitals,
  ...typescript,
  {
    files: ["**/*.tsx"],
    rules: { "react/jsx-no-literals": ["error", { allowedStrings: SAME_IN_ALL_LANGUAGES }] },
  },
  { ignores: [".next/", "node_modules/", "next-env.d.ts"] },
];

export default config;
