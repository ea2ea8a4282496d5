import type { Metadata } from "next";
import { SignedIn } from "@/components/SignedIn";
import { Workshop } from "@/components/Workshop";
import { signInKind } from "@/lib/server/account/settings";
import { serviceRoot } from "@/lib/server/addresses";

export const metadata: Metadata = { title: "Producers" };
export const dynamic = "force-dynamic"; // the addresses are read when it is asked for, not when it is built

export default function ProducerPage() {
  return (
    <>
      <h1>Train your twin</h1>
      <p className="lead">Give it your beats, watch it learn, hear it on the way, and keep the version you like.</p>
      {serviceRoot() !== null ? (
        workshop()
      ) : (
        <p className="notice">
          This app knows the addresses of three routes only. Set MUSIC_SERVICE_URL to train here; until then, send files to
          /api/producer/upload-and-train.
        </p>
      )}
    </>
  );
}

function workshop() {
  if (signInKind() === null) return <Workshop hasSignIn={false} />;
  return (
    <SignedIn why="to claim your producer id and to train your twins">
      <Workshop hasSignIn />
    </SignedIn>
  );
}
