"use client";

import Link from "next/link";
import { usePathname } from "next/navigation";
import type { ReactNode } from "react";
import { mayLeave } from "@/lib/leaving";

/** A link to a page, marked if that is the page that is shown. */
export function NavLink({ href, children }: { href: string; children: ReactNode }) {
  return (
    <Link
      href={href}
      aria-current={usePathname() === href ? "page" : undefined}
      onNavigate={(event) => {
        if (!mayLeave()) event.preventDefault();
      }}
    >
      {children}
    </Link>
  );
}
