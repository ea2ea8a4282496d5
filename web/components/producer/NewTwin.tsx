"use client";

import { useTranslations } from "next-intl";
import type { Backend, TrainOptions, Twin } from "producer-twin";
import { useEffect, useId, useState, type FormEvent } from "react";
import { api } from "@/lib/client";
import { duration } from "@/lib/duration";
import { trainingEstimate } from "@/lib/estimate";
import { useLeavingGuard } from "@/lib/leaving";
import { isUploaded, useSongs, type Song } from "@/lib/useSongs";
import { Fault, Form, Input } from "../Form";
import { Notice } from "../Notice";
import { Beat } from "./Beat";
import { DropBox } from "./DropBox";
import { IdInput } from "./IdInput";
import { isId } from "./ids";
import { MusicAmount } from "./MusicAmount";
import { DEFAULTS, TrainingOptions, type Options } from "./TrainingOptions";

const MAX_FILES = 100;
const DEFAULT_NAME = "nawfside_lora";

/** `producer` is empty until there is an id; files wait for it. */
type Props = { producer: string; twins: Twin[]; started: () => void };

/** Files, what is known of each, the producer's word that they are theirs, and the start. */
export function NewTwin({ producer, twins, started }: Props) {
  const t = useTranslations("newTwin");
  const id = useId();
  const { songs, job, add, change, remove, clear } = useSongs(producer);
  const [typed, setTyped] = useState("");
  const [options, setOptions] = useState<Options>(DEFAULTS);
  const [rights, setRights] = useState(false);
  const [busy, setBusy] = useState(false);
  const [trouble, setTrouble] = useState<unknown>(null);
  const [training, setTraining] = useState<Backend["training"]>(null);
  const ready = songs.filter((song) => isUploaded(song, producer));
  const model = typed.trim();
  const isRefused = model !== "" && !isId(model);
  const isKnown = twins.some((twin) => twin.model_name === (model || DEFAULT_NAME));
  const lengths = ready.map((song) => song.known?.seconds ?? 0).filter((seconds) => seconds > 0);
  const estimate = trainingEstimate(training, lengths, options.steps);
  useLeavingGuard(songs.some((song) => !isUploaded(song, producer) && song.trouble === undefined), t("leaving"));

  useEffect(() => {
    api.service
      .backends()
      .then((backends) => setTraining(backends.find((row) => row.default)?.training ?? null))
      .catch(() => undefined); // the training starts without an estimate
  }, [twins]);

  function take(files: File[]): void {
    setTrouble(songs.length + files.length > MAX_FILES ? t("tooMany", { count: MAX_FILES }) : null);
    add(files.slice(0, MAX_FILES - songs.length));
  }

  async function start(event: FormEvent): Promise<void> {
    event.preventDefault();
    setBusy(true);
    setTrouble(null);
    const paths = ready.map((song) => song.paths[producer] ?? "");
    const settings: TrainOptions = {
      job_id: job,
      metadata_per_file: ready.map(metadataOf),
      ...(model ? { model_name: model } : {}),
      ...(options.profile ? { profile: options.profile } : {}),
      ...(options.segmentOn ? { segment_on: options.segmentOn } : {}),
      ...(options.steps ? { max_steps: Number(options.steps) } : {}),
      tag_before_train: options.tags,
      rights_confirmed: rights,
    };
    try {
      await api.training.submit(producer, paths, settings);
      clear();
      setRights(false);
      started();
    } catch (error) {
      setTrouble(error);
    } finally {
      setBusy(false);
    }
  }

  return (
    <Form className="panel" onSubmit={(event) => void start(event)} aria-labelledby={`${id}new`}>
      <h2 id={`${id}new`}>{t("title")}</h2>
      <label htmlFor={`${id}model`}>{t("name")}</label>
      <IdInput
        id={`${id}model`}
        placeholder={DEFAULT_NAME}
        aria-invalid={isRefused}
        aria-describedby={`${id}modelRule`}
        value={typed}
        set={setTyped}
      />
      <p id={`${id}modelRule`} className={isRefused ? "fault" : "hint"} aria-live="polite">
        {isRefused ? t("nameRefused") : isKnown ? t("nameKnown", { twin: `${producer}:${model || DEFAULT_NAME}` }) : t("nameRule")}
      </p>

      <DropBox add={take} required={songs.length === 0} />
      <MusicAmount lengths={lengths} />
      {songs.length > 0 && !producer && (
        <p className="hint" role="status">
          {t("waitsForId")}
        </p>
      )}
      <ul className="beats">
        {songs.map((song) => (
          <Beat
            key={song.key}
            song={song}
            uploaded={isUploaded(song, producer)}
            change={(news) => change(song.key, news)}
            remove={() => remove(song)}
          />
        ))}
      </ul>

      <TrainingOptions options={options} set={(news) => setOptions((old) => ({ ...old, ...news }))} />
      <label className="check">
        <Input id={`${id}rights`} type="checkbox" required checked={rights} onChange={(event) => setRights(event.target.checked)} />
        {t("rights")}
      </label>
      <Fault id={`${id}rights`} />
      {estimate && (
        <p className="hint" role="status">
          {t(estimate.isGuess ? "aboutSteps" : "steps", { count: estimate.steps })}{" "}
          {estimate.seconds === null ? t("timeUnknown") : t("time", { time: duration(estimate.seconds) })}
        </p>
      )}
      <Notice>{trouble}</Notice>
      <button type="submit" className="primary" disabled={busy || ready.length < songs.length}>
        {busy ? t("starting") : t("start")}
      </button>
      {songs.length > ready.length && <p className="hint">{t("startsWhen")}</p>}
    </Form>
  );
}

function metadataOf(song: Song): Record<string, unknown> {
  return {
    title: song.file.name.replace(/\.[^.]+$/, ""),
    ...(song.bpm ? { bpm: Number(song.bpm) } : {}),
    ...(song.tone ? { key: song.tone } : {}),
    ...(song.genre.trim() ? { genre: song.genre.trim() } : {}),
    ...(song.instruments.trim() ? { instruments: song.instruments.trim() } : {}),
  };
}
