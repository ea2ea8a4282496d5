import { Said } from "./Said";

/** What went wrong: null, words of this app, or an error. */
export function Notice({ children }: { children: unknown }) {
  return (
    <div role="alert" className={children ? "notice" : "silent"}>
      <Said>{children}</Said>
    </div>
  );
}
