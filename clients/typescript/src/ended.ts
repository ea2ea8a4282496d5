const ENDED: ReadonlySet<string> = new Set(["done", "failed", "cancelled"]);

/** Whether a job, or a submitted track, goes on no more. */
export const hasEnded = ({ state }: { readonly state: string }): boolean => ENDED.has(state);
