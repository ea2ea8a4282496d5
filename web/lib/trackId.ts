/** The id of a track in the library, by the path that the service answered. */
export function trackId(outputPath: string): string {
  return outputPath.replace(/^\/data\/outputs\//, "").replace(/\.\w+$/, "").replaceAll("/", ":");
}
