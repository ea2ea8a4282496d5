import type { Metadata } from "next";
import { getTranslations } from "next-intl/server";
import { notFound } from "next/navigation";
import { Notice } from "@/components/Notice";
import { SignInForm } from "@/components/SignInForm";
import { localPath } from "@/lib/server/account/origin";
import { signInKind } from "@/lib/server/account/settings";

export async function generateMetadata(): Promise<Metadata> {
  return { title: (await getTranslations("signIn"))("title") };
}

type Props = { searchParams: Promise<Record<string, string | string[] | undefined>> };

export default async function SignInPage({ searchParams }: Props) {
  const kind = signInKind();
  if (kind === null) notFound();
  const t = await getTranslations("signIn");
  const { next, failed } = await searchParams;
  const page = localPath(typeof next === "string" ? next : null);
  const trouble = failed === "refused" || failed === "away" ? t(failed) : null;
  return (
    <>
      <h1>{t("title")}</h1>
      <p className="lead">{t("lead")}</p>
      {kind === "supabase" ? (
        <SignInForm first="sign-in" next={page} trouble={trouble} />
      ) : (
        <section className="panel narrow" aria-label={t("title")}>
          {/* The route leads to the provider, which the app's router cannot. */}
          <a className="button primary" href={`/api/account/sign-in?next=${encodeURIComponent(page)}`}>
            {t("goOn")}
          </a>
          <Notice>{trouble}</Notice>
        </section>
      )}
    </>
  );
}
