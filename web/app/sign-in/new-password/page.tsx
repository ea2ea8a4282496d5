import type { Metadata } from "next";
import { getTranslations } from "next-intl/server";
import { notFound } from "next/navigation";
import { SignedIn } from "@/components/SignedIn";
import { SignInForm } from "@/components/SignInForm";
import { SignInLink } from "@/components/SignInLink";
import { signInKind } from "@/lib/server/account/settings";

export async function generateMetadata(): Promise<Metadata> {
  return { title: (await getTranslations("signIn"))("newPasswordTitle") };
}

export default async function NewPasswordPage() {
  if (signInKind() !== "supabase") notFound();
  const t = await getTranslations("signIn");
  return (
    <>
      <h1>{t("newPasswordTitle")}</h1>
      <SignedIn invitation={t.rich("newPasswordSignIn", { link: (words) => <SignInLink>{words}</SignInLink> })}>
        <SignInForm first="new-password" next="/" trouble={null} />
      </SignedIn>
    </>
  );
}
