/** A time of the service, in the clock of whoever looks at it. */
export const localTime = (at: string, locale: string, dateStyle: "medium" | "long" = "medium"): string =>
  new Date(at).toLocaleString(locale, { dateStyle, timeStyle: "short" });
