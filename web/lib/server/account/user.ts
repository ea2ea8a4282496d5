import { oidcUser } from "./oidc";
import { signInKind } from "./settings";
import { supabaseUser } from "./supabase";

/** A signed-in user: the token for the service, and a name to show. */
export type User = { token: string; name: string };

/** Whose session cookie came with the request; its tokens are renewed if they are about to expire. Throws Problem (503). */
export async function currentUser(): Promise<User | null> {
  switch (signInKind()) {
    case "supabase":
      return supabaseUser();
    case "oidc":
      return oidcUser();
    case null:
      return null;
  }
}
