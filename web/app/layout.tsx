import type { Metadata, Viewport } from "next";
import { NextIntlClientProvider } from "next-intl";
import { getLocale, getTranslations } from "next-intl/server";
import { headers } from "next/headers";
import type { ReactNode } from "react";
import { AccountMenu } from "@/components/AccountMenu";
import { LanguageMenu } from "@/components/LanguageMenu";
import { Keeper } from "@/components/making/Keeper";
import { NavLink } from "@/components/NavLink";
import { Player } from "@/components/player/Player";
import { signInKind } from "@/lib/server/account/settings";
import { EARLY_CLICKS } from "@/lib/server/earlyClicks";
import "./globals.css";
import "./controls.css";

export async function generateMetadata(): Promise<Metadata> {
  const t = await getTranslations("site");
  return { title: { default: t("name"), template: `%s · ${t("name")}` }, description: t("description") };
}

export const viewport: Viewport = {
  colorScheme: "light dark",
  themeColor: [
    { media: "(prefers-color-scheme: light)", color: "#f6f7fa" },
    { media: "(prefers-color-scheme: dark)", color: "#10141c" },
  ],
};

export default async function Layout({ children }: { children: ReactNode }) {
  const t = await getTranslations("site");
  return (
    <html lang={await getLocale()}>
      <body>
        <script nonce={await nonce()} dangerouslySetInnerHTML={{ __html: EARLY_CLICKS }} />
        <NextIntlClientProvider>
          <a className="skip" href="#main">
            {t("skip")}
          </a>
          <header>
            <p className="brand">{t("name")}</p>
            <nav aria-label={t("pages")}>
              <NavLink href="/">{t("artists")}</NavLink>
              <NavLink href="/library">{t("library")}</NavLink>
              <NavLink href="/producer">{t("producers")}</NavLink>
            </nav>
            <LanguageMenu />
            {signInKind() !== null && <AccountMenu />}
          </header>
          <main id="main">{children}</main>
          <Player />
          <Keeper />
        </NextIntlClientProvider>
      </body>
    </html>
  );
}

/** The nonce of the policy that proxy.ts put into the request's headers. */
async function nonce(): Promise<string | undefined> {
  return /'nonce-([^']+)'/.exec((await headers()).get("content-security-policy") ?? "")?.[1];
}
