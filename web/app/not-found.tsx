import type { Metadata } from "next";
import Link from "next/link";

export const metadata: Metadata = { title: "Not found" };

export default function NotFound() {
  return (
    <>
      <h1>There is no such page</h1>
      <p className="lead">
        <Link href="/">Make a track</Link>, or <Link href="/producer">train a twin</Link>.
      </p>
    </>
  );
}
