import type { Metadata } from "next";
import { getTranslations } from "next-intl/server";
import { Library } from "@/components/library/Library";
import { SignedIn } from "@/components/SignedIn";
import { SignInLink } from "@/components/SignInLink";
import { signInKind } from "@/lib/server/account/settings";
import { serviceRoot } from "@/lib/server/addresses";

type Query = Record<string, string | string[] | undefined>;

export async function generateMetadata(): Promise<Metadata> {
  return { title: (await getTranslations("library"))("name") };
}

export default async function LibraryPage({ searchParams }: { searchParams: Promise<Query> }) {
  const t = await getTranslations("library");
  const { text, twin, liked } = await searchParams;
  const one = (value: Query[string]): string => (typeof value === "string" ? value : "");
  const list = <Library first={{ text: one(text), twin: one(twin), liked: liked === "true" }} />;
  return (
    <>
      <h1>{t("name")}</h1>
      <p className="lead">{t("lead")}</p>
      {serviceRoot() === null ? (
        <p className="notice">{t("noService")}</p>
      ) : signInKind() === null ? (
        list
      ) : (
        <SignedIn invitation={t.rich("signIn", { link: (words) => <SignInLink>{words}</SignInLink> })}>{list}</SignedIn>
      )}
    </>
  );
}
