import { forgetLinks } from "./links";
import { useForm } from "./making/form";
import { forgetRequests, useRequests } from "./making/requests";
import { START } from "./settings";

const PREFIX = "producer-twin.";
const OWNER = `${PREFIX}user`;

/** Forgets the user's work that this browser keeps, so that the next one to sign in here does not see it. */
export function forgetWork(): void {
  forgetRequests();
  useForm.setState({ settings: START });
  useForm.persist?.clearStorage();
  forgetLinks();
  for (const storage of storages()) storage.removeItem(OWNER);
}

/** Keeps work for this user, and forgets that of another, whose session ended without a sign-out. */
export function keepWorkOf(user: string): void {
  const sign = (): void => storages().forEach((storage) => storage.setItem(OWNER, user));
  if (storages().some((storage) => ![null, user].includes(storage.getItem(OWNER)))) forgetWork();
  if (storages().some((storage) => Object.keys(storage).some((key) => key.startsWith(PREFIX)))) sign();
  useForm.subscribe(sign);
  useRequests.subscribe(sign);
}

/** Those of the browser and of the tab; none where the browser keeps nothing. */
function storages(): Storage[] {
  try {
    return [window.localStorage, window.sessionStorage];
  } catch {
    return [];
  }
}
