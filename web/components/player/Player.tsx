"use client";

import dynamic from "next/dynamic";
import { usePlayer } from "@/lib/player/player";

const PlayerBar = dynamic(() => import("./PlayerBar").then((found) => found.PlayerBar), { ssr: false });

/** Nothing until the first sound is played, and then the player. */
export function Player() {
  const used = usePlayer((state) => state.a !== null || state.b !== null);
  return used && <PlayerBar />;
}
