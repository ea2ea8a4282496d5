import type { Metadata } from "next";
import { getTranslations } from "next-intl/server";
import { notFound } from "next/navigation";
import { AskAgain } from "@/components/AskAgain";
import { SignInLink } from "@/components/SignInLink";
import { TrackView } from "@/components/track/TrackView";
import { publicOrigin } from "@/lib/server/origin";
import { Problem } from "@/lib/server/problem";
import { storedTrack } from "@/lib/server/tracks";

type Props = { params: Promise<{ id: string }> };

export async function generateMetadata({ params }: Props): Promise<Metadata> {
  const t = await getTranslations("track");
  const track = await found(params).catch(() => null);
  const origin = await publicOrigin();
  const metadataBase = new URL(origin); // of the picture beside this page
  if (!track) return { title: t("name"), metadataBase };
  const title = track.title ?? track.prompt;
  const twins = track.twins.map((twin) => twin.lora_id).join(", ");
  const description = twins ? t("descriptionTwin", { prompt: track.prompt, twins }) : track.prompt;
  return {
    title,
    description,
    metadataBase,
    openGraph: {
      type: "music.song",
      title,
      description,
      url: `/track/${track.track_id}`,
      audio: { url: `${origin}/api/service${track.output_path}` },
      duration: Math.round(track.duration_seconds),
    },
    twitter: { card: "summary_large_image" },
  };
}

export default async function TrackPage({ params }: Props) {
  const t = await getTranslations("track");
  const errors = await getTranslations("errors");
  const track = await found(params).catch((error: unknown) => {
    if (error instanceof Problem) return error;
    throw error;
  });
  if (track === null) notFound();
  if (!(track instanceof Problem)) return <TrackView key={track.track_id} first={track} />;
  return (
    <>
      <h1>{t("name")}</h1>
      {track.status === 401 ? (
        <p className="panel">{t.rich("signIn", { link: (words) => <SignInLink>{words}</SignInLink> })}</p>
      ) : (
        <p className="notice">
          {track.reason ? errors(track.reason, { seconds: track.headers["retry-after"] ?? "" }) : track.message}
          {track.status === 503 && <AskAgain />}
        </p>
      )}
    </>
  );
}

async function found(params: Props["params"]) {
  return storedTrack(decodeURIComponent((await params).id));
}
