import { answering } from "@/lib/server/problem";
import { currentUser } from "@/lib/server/account/user";

/** `{"user": {"name"}}` of who is signed in, or `{"user": null}`. */
export function GET(): Promise<Response> {
  return answering(async () => {
    const user = await currentUser();
    return Response.json({ user: user && { name: user.name } }, { headers: { "cache-control": "no-store" } });
  });
}
