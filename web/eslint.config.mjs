import vitals from "eslint-config-next/core-web-vitals";
import typescript from "eslint-config-next/typescript";

const config = [
  ...vitals,
  ...typescript,
  { ignores: [".next/", "node_modules/", "lib/schema.d.ts", "next-env.d.ts"] },
];

export default config;
