/** A producer's id, or the name of a twin, as the service takes it. */
export const ID_PATTERN = "[A-Za-z0-9_\\-][A-Za-z0-9._\\-]{0,63}";

export const isId = (text: string): boolean => new RegExp(`^${ID_PATTERN}$`).test(text);
