import type { Metadata } from "next";
import { notFound } from "next/navigation";
import { SignedIn } from "@/components/SignedIn";
import { SignInForm } from "@/components/SignInForm";
import { signInKind } from "@/lib/server/account/settings";

export const metadata: Metadata = { title: "New password" };
export const dynamic = "force-dynamic"; // the settings are read when it is asked for, not when it is built

export default function NewPasswordPage() {
  if (signInKind() !== "supabase") notFound();
  return (
    <>
      <h1>New password</h1>
      <SignedIn why="to change your password, or ask for a link there">
        <SignInForm first="new-password" next="/" trouble={null} />
      </SignedIn>
    </>
  );
}
