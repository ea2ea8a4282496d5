import { headers } from "next/headers";

/** The address under which browsers see the app: WEB_URL, or the name that this request was for. */
export async function publicOrigin(): Promise<string> {
  const set = process.env.WEB_URL?.trim();
  if (set && URL.canParse(set)) return new URL(set).origin;
  return `http://${(await headers()).get("host") ?? "localhost"}`;
}
