/** What went wrong, in the service's own words. */
export function Notice({ children }: { children: string | null }) {
  return (
    <div role="alert" className={children ? "notice" : "silent"}>
      {children}
    </div>
  );
}
