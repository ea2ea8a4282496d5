import type { Metadata } from "next";
import { notFound } from "next/navigation";
import { Notice } from "@/components/Notice";
import { SignInForm } from "@/components/SignInForm";
import { localPath } from "@/lib/server/account/origin";
import { signInKind } from "@/lib/server/account/settings";

export const metadata: Metadata = { title: "Sign in" };
export const dynamic = "force-dynamic"; // the settings are read when it is asked for, not when it is built

const FAILURES: Record<string, string> = {
  refused: "You were not signed in. The link may be old, or from another browser; try again.",
  away: "The sign-in provider does not answer; try again later.",
};

type Props = { searchParams: Promise<Record<string, string | string[] | undefined>> };

export default async function SignInPage({ searchParams }: Props) {
  const kind = signInKind();
  if (kind === null) notFound();
  const { next, failed } = await searchParams;
  const page = localPath(typeof next === "string" ? next : null);
  const trouble = (typeof failed === "string" && FAILURES[failed]) || null;
  return (
    <>
      <h1>Sign in</h1>
      <p className="lead">Your twins are yours: you decide who makes tracks with them.</p>
      {kind === "supabase" ? (
        <SignInForm first="sign-in" next={page} trouble={trouble} />
      ) : (
        <section className="panel narrow" aria-label="Sign in">
          {/* The route leads to the provider, which the app's router cannot. */}
          <a className="button primary" href={`/api/account/sign-in?next=${encodeURIComponent(page)}`}>
            Go on to sign in
          </a>
          <Notice>{trouble}</Notice>
        </section>
      )}
    </>
  );
}
