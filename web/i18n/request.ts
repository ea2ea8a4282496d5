import Negotiator from "negotiator";
import { getRequestConfig } from "next-intl/server";
import { cookies, headers } from "next/headers";
import { DEFAULT_LANGUAGE, isLanguage, LANGUAGE_COOKIE, LANGUAGES, type Language } from "./languages";

/** The language and the messages of a request, for next-intl. */
export default getRequestConfig(async () => {
  const locale = await language();
  const { default: messages } = (await import(`../messages/${locale}.json`)) as typeof import("../messages/en.json") & {
    default: typeof import("../messages/en.json");
  };
  return { locale, messages };
});

async function language(): Promise<Language> {
  const chosen = (await cookies()).get(LANGUAGE_COOKIE)?.value;
  if (isLanguage(chosen)) return chosen;
  const accepted = { headers: { "accept-language": (await headers()).get("accept-language") ?? "" } };
  const preferred = new Negotiator(accepted).language(Object.keys(LANGUAGES));
  return isLanguage(preferred) ? preferred : DEFAULT_LANGUAGE;
}
