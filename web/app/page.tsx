import { getTranslations } from "next-intl/server";
import { SignedIn } from "@/components/SignedIn";
import { SignInLink } from "@/components/SignInLink";
import { Studio } from "@/components/making/Studio";
import { signInKind } from "@/lib/server/account/settings";
import { serviceRoot } from "@/lib/server/addresses";

export default async function ArtistPage() {
  const t = await getTranslations("artist");
  return (
    <>
      <h1>{t("title")}</h1>
      <p className="lead">{t("lead")}</p>
      {signInKind() !== null && (
        <SignedIn invitation={t.rich("signIn", { link: (words) => <SignInLink>{words}</SignInLink> })} />
      )}
      <Studio whole={serviceRoot() !== null} />
    </>
  );
}
