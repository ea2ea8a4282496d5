import { Studio } from "@/components/Studio";
import { SignedIn } from "@/components/SignedIn";
import { signInKind } from "@/lib/server/account/settings";
import { serviceRoot } from "@/lib/server/addresses";

export const dynamic = "force-dynamic"; // the addresses are read when it is asked for, not when it is built

export default function ArtistPage() {
  return (
    <>
      <h1>Make a track</h1>
      <p className="lead">Choose a producer&rsquo;s twin, say what you want to hear, and compare what comes.</p>
      {signInKind() !== null && <SignedIn why="to make tracks with your own twins, and to keep your tracks to yourself" />}
      <Studio whole={serviceRoot() !== null} />
    </>
  );
}
