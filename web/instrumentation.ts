/** Runs once, when the server starts: Node ends a request of which the body takes over five minutes, a slow line more. */
export async function register(): Promise<void> {
  if (process.env.NEXT_RUNTIME !== "nodejs") return;
  const { allowSlowUploads } = await import("./lib/server/slow");
  allowSlowUploads();
}
