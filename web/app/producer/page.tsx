import type { Metadata } from "next";
import { getTranslations } from "next-intl/server";
import { SignedIn } from "@/components/SignedIn";
import { SignInLink } from "@/components/SignInLink";
import { Workshop } from "@/components/producer/Workshop";
import { signInKind } from "@/lib/server/account/settings";
import { serviceRoot } from "@/lib/server/addresses";

export async function generateMetadata(): Promise<Metadata> {
  return { title: (await getTranslations("producer"))("name") };
}

export default async function ProducerPage() {
  const t = await getTranslations("producer");
  return (
    <>
      <h1>{t("title")}</h1>
      <p className="lead">{t("lead")}</p>
      {serviceRoot() === null ? (
        <p className="notice">{t("noService")}</p>
      ) : signInKind() === null ? (
        <Workshop hasSignIn={false} />
      ) : (
        <SignedIn invitation={t.rich("signIn", { link: (words) => <SignInLink>{words}</SignInLink> })}>
          <Workshop hasSignIn />
        </SignedIn>
      )}
    </>
  );
}
