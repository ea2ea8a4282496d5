"use client";

import { useTranslations } from "next-intl";
import { useEffect, useRef } from "react";
import { fillForm } from "@/lib/making/form";
import { errorOf } from "@/lib/making/request";
import { dismiss, markSeen, retry, type TrackRequest } from "@/lib/making/requests";
import { compare } from "@/lib/player/player";
import { castOf } from "@/lib/settings";
import { Notice } from "../Notice";
import { TakeItem, type LabelledTake } from "./TakeItem";
import { useTakes } from "./useTakes";
import { Waiting } from "./Waiting";
import "./cards.css";

/** What was asked for, or the same with and without the twin: under way, made or failed. */
export function RequestCard({ requests, refill }: { requests: [TrackRequest, ...TrackRequest[]]; refill: () => void }) {
  const t = useTranslations("make");
  const takes = useTakes(requests);
  const card = useRef<HTMLLIElement>(null);
  const [first, second] = requests;
  const name = t("request", { number: first.number });
  const [withTwin, without] = [takes.find((take) => take.request === first), takes.find((take) => take.request === second)];

  // Below the form or above it, one would not see that anything came of the button.
  useEffect(() => {
    if (markSeen(requests)) card.current?.scrollIntoView({ block: "nearest" });
  }, [requests]);

  return (
    <li ref={card} className="panel request" aria-label={name}>
      <h3>{first.body.prompt}</h3>
      <p className="hint">{castOf(first.body) || t("noTwin")}</p>
      {requests.map((request) => (
        <State key={request.id} request={request} name={second ? t(request === first ? "withTwin" : "withoutTwin") : name} />
      ))}
      {takes.length > 0 && (
        <ol className="takes">
          {takes.map((take) => (
            <TakeItem key={`${take.request.id}${take.made.seed}`} take={take} against={rival(take, takes)} refill={refill} />
          ))}
        </ol>
      )}
      <div className="actions">
        {withTwin && without && (
          <button type="button" onClick={() => compare(without.sound, withTwin.sound)}>
            {t("comparePair")}
          </button>
        )}
        {requests.every(({ state }) => state === "made") && (
          <>
            <button
              type="button"
              onClick={() => {
                fillForm({ ...first.body, seed: null });
                refill();
              }}
            >
              {t("changeAndRepeat")}
            </button>
            <button type="button" onClick={() => requests.forEach(dismiss)} aria-label={t("dismissOf", { name })}>
              {t("dismiss")}
            </button>
          </>
        )}
      </div>
    </li>
  );
}

/** The take that another one is compared with: the first of the card, or the second for the first. */
function rival(take: LabelledTake, takes: LabelledTake[]): LabelledTake | undefined {
  return takes.find((each) => each !== take);
}

function State({ request, name }: { request: TrackRequest; name: string }) {
  const t = useTranslations("make");
  if (request.state === "made") return null;
  if (request.state === "underWay") return <Waiting request={request} name={name} />;
  return (
    <>
      <Notice>{request.trouble && errorOf(request.trouble)}</Notice>
      <div className="actions">
        <button type="button" onClick={() => retry(request)} aria-label={t("tryAgainOf", { name })}>
          {t("tryAgain")}
        </button>
        <button type="button" onClick={() => dismiss(request)} aria-label={t("dismissOf", { name })}>
          {t("dismiss")}
        </button>
      </div>
    </>
  );
}
