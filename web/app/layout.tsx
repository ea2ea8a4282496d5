import type { Metadata, Viewport } from "next";
import type { ReactNode } from "react";
import { AccountMenu } from "@/components/AccountMenu";
import { NavLink } from "@/components/NavLink";
import { signInKind } from "@/lib/server/account/settings";
import "./globals.css";

export const metadata: Metadata = {
  title: { default: "Producer Twin", template: "%s · Producer Twin" },
  description: "Tracks in a producer's style, made by the producer's twin",
};

export const viewport: Viewport = { themeColor: "#10141c", colorScheme: "dark" };

export default function Layout({ children }: { children: ReactNode }) {
  return (
    <html lang="en">
      <body>
        <a className="skip" href="#main">
          Skip to the content
        </a>
        <header>
          <p className="brand">Producer Twin</p>
          <nav aria-label="Pages">
            <NavLink href="/">Artists</NavLink>
            <NavLink href="/producer">Producers</NavLink>
          </nav>
          {signInKind() !== null && <AccountMenu />}
        </header>
        <main id="main">{children}</main>
      </body>
    </html>
  );
}
