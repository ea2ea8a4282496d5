import { Studio } from "@/components/Studio";
import { serviceRoot } from "@/lib/server/addresses";

export const dynamic = "force-dynamic"; // the addresses are read when it is asked for, not when it is built

export default function ArtistPage() {
  return (
    <>
      <h1>Make a track</h1>
      <p className="lead">Choose a producer&rsquo;s twin, say what you want to hear, and compare what comes.</p>
      <Studio whole={serviceRoot() !== null} />
    </>
  );
}
