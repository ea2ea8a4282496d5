import type { Metadata } from "next";
import { getTranslations } from "next-intl/server";
import Link from "next/link";

export async function generateMetadata(): Promise<Metadata> {
  return { title: (await getTranslations("site"))("notFound") };
}

export default async function NotFound() {
  const t = await getTranslations("site");
  return (
    <>
      <h1>{t("notFoundTitle")}</h1>
      <p className="lead">
        {t.rich("notFoundLead", {
          artist: (words) => <Link href="/">{words}</Link>,
          producer: (words) => <Link href="/producer">{words}</Link>,
        })}
      </p>
    </>
  );
}
