"use client";

export default function Failed({ reset }: { reset: () => void }) {
  return (
    <>
      <h1>This page failed</h1>
      <p className="lead">What was made is kept by the service.</p>
      <button type="button" onClick={reset}>
        Try again
      </button>
    </>
  );
}
