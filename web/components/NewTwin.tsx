"use client";

import { useEffect, useId, useRef, useState, type DragEvent, type FormEvent } from "react";
import { answered, passwordHeader, service, words, type Analysis, type Backend, type TrainRequest } from "@/lib/client";
import { trainingEstimate } from "@/lib/estimate";
import { distinctName } from "@/lib/names";
import { randomId } from "@/lib/random";
import { upload } from "@/lib/upload";
import { Beat, type Song } from "./Beat";
import { Fault, Form, Input } from "./Form";
import { Notice } from "./Notice";

const ACCEPT = ".wav,.flac,.mp3,.ogg,.opus,.m4a,audio/*";
const MOST_FILES = 100;

type Props = { producer: string; password: string; started: () => void };

/** Files, what is known of each, the producer's word that they are theirs, and the start. */
export function NewTwin({ producer, password, started }: Props) {
  const id = useId();
  const [songs, setSongs] = useState<Song[]>([]);
  const [model, setModel] = useState("");
  const [rights, setRights] = useState(false);
  const [profile, setProfile] = useState<NonNullable<TrainRequest["profile"]> | "">("");
  const [segmentOn, setSegmentOn] = useState<NonNullable<TrainRequest["segment_on"]> | "">("");
  const [tags, setTags] = useState(false);
  const [steps, setSteps] = useState("");
  const [over, setOver] = useState(false);
  const [busy, setBusy] = useState(false);
  const [trouble, setTrouble] = useState<string | null>(null);
  const [training, setTraining] = useState<Backend["training"]>(null);
  const job = useRef("");
  const names = useRef(new Set<string>()); // of all files that were sent for this job, also of those removed since
  const ready = songs.filter((song) => song.path !== undefined);

  const estimate = trainingEstimate(
    training,
    ready.map((song) => song.known?.seconds ?? 0).filter((seconds) => seconds > 0),
    steps,
  );

  useEffect(() => {
    answered(service.GET("/backends"))
      .then(({ backends }) => setTraining(backends.find((row) => row.default)?.training ?? null))
      .catch(() => undefined); // the training starts without an estimate
  }, []);

  const change = (key: string, news: Partial<Song>): void =>
    setSongs((all) => all.map((song) => (song.key === key ? { ...song, ...news } : song)));

  async function add(files: File[]): Promise<void> {
    setTrouble(songs.length + files.length > MOST_FILES ? `A training takes ${MOST_FILES} files at most.` : null);
    const fresh = files.slice(0, MOST_FILES - songs.length).map(
      (file): Song => ({ key: randomId(), file, name: distinctName(file.name, names.current), src: URL.createObjectURL(file), share: 0, bpm: "", tone: "", genre: "", instruments: "" }),
    );
    setSongs((all) => [...all, ...fresh]);
    // One after the other: the service listens to one song at a time as well.
    for (const song of fresh) await send(song);
  }

  async function send(song: Song): Promise<void> {
    job.current ||= randomId();
    change(song.key, { trouble: undefined });
    try {
      const path = await upload(song.file, { producer_id: producer, job_id: job.current, filename: song.name }, password, (share) =>
        change(song.key, { share }),
      );
      change(song.key, { path, share: 1 });
      const known: Analysis = await answered(
        service.GET("/uploads/analysis", { params: { query: { path } }, headers: passwordHeader(password) }),
      );
      change(song.key, { known });
    } catch (error) {
      change(song.key, { trouble: words(error) });
    }
  }

  function remove(song: Song): void {
    URL.revokeObjectURL(song.src);
    setSongs((all) => all.filter((other) => other.key !== song.key));
  }

  async function start(event: FormEvent): Promise<void> {
    event.preventDefault();
    setBusy(true);
    setTrouble(null);
    const body: TrainRequest = {
      producer_id: producer,
      job_id: job.current,
      upload_paths: ready.map((song) => song.path ?? ""),
      metadata_per_file: ready.map((song) => ({
        title: song.file.name.replace(/\.[^.]+$/, ""),
        ...(song.bpm ? { bpm: Number(song.bpm) } : {}),
        ...(song.tone ? { key: song.tone } : {}),
        ...(song.genre.trim() ? { genre: song.genre.trim() } : {}),
        ...(song.instruments.trim() ? { instruments: song.instruments.trim() } : {}),
      })),
      ...(model ? { model_name: model } : {}),
      ...(profile ? { profile } : {}),
      ...(segmentOn ? { segment_on: segmentOn } : {}),
      ...(steps ? { max_steps: Number(steps) } : {}),
      tag_before_train: tags,
      rights_confirmed: rights,
    };
    try {
      await answered(service.POST("/train/submit", { body, headers: passwordHeader(password) }));
      songs.forEach((song) => URL.revokeObjectURL(song.src));
      setSongs([]);
      setRights(false);
      job.current = "";
      names.current.clear();
      started();
    } catch (error) {
      setTrouble(words(error));
    } finally {
      setBusy(false);
    }
  }

  function drop(event: DragEvent): void {
    event.preventDefault();
    setOver(false);
    void add([...event.dataTransfer.files]);
  }

  return (
    <Form className="panel" onSubmit={(event) => void start(event)} aria-labelledby={`${id}new`}>
      <h2 id={`${id}new`}>New twin</h2>
      <div
        className={over ? "drop over" : "drop"}
        onDragOver={(event) => {
          event.preventDefault();
          setOver(true);
        }}
        onDragLeave={() => setOver(false)}
        onDrop={drop}
      >
        <label htmlFor={`${id}files`}>Drop your beats here, or choose them</label>
        <input
          id={`${id}files`}
          type="file"
          multiple
          accept={ACCEPT}
          onChange={(event) => {
            void add([...(event.target.files ?? [])]);
            event.target.value = "";
          }}
        />
        <p className="hint">WAV, FLAC, MP3, Ogg, Opus or M4A. Three songs or more let the report say what was learned.</p>
      </div>

      <ul className="cards">
        {songs.map((song) => (
          <Beat
            key={song.key}
            song={song}
            change={(news) => change(song.key, news)}
            remove={() => remove(song)}
            again={() => void send(song)}
          />
        ))}
      </ul>

      <label htmlFor={`${id}model`}>Name of the twin</label>
      <input
        id={`${id}model`}
        placeholder="nawfside_lora"
        maxLength={64}
        autoCapitalize="none"
        spellCheck={false}
        value={model}
        onChange={(event) => setModel(event.target.value.trim())}
      />

      <details>
        <summary>How it is trained</summary>
        <label htmlFor={`${id}profile`}>Sound</label>
        <select id={`${id}profile`} value={profile} onChange={(event) => setProfile(event.target.value as typeof profile)}>
          <option value="">As the service is set</option>
          <option value="contract">Mono at 44.1 kHz: small and quick</option>
          <option value="native">The model&rsquo;s own: where width and air belong to the sound</option>
        </select>
        <label htmlFor={`${id}cuts`}>Cuts</label>
        <select id={`${id}cuts`} value={segmentOn} onChange={(event) => setSegmentOn(event.target.value as typeof segmentOn)}>
          <option value="">Automatic: on bars if the model was trained on bars</option>
          <option value="beat">On bars: for loops and music made on a grid</option>
          <option value="time">Every 15 s: for music without a steady beat</option>
        </select>
        <label className="check">
          <input type="checkbox" checked={tags} onChange={(event) => setTags(event.target.checked)} />
          Have Gemini describe each segment, for prompts that name a sound
        </label>
        <label htmlFor={`${id}steps`}>Steps</label>
        <Input
          id={`${id}steps`}
          type="number"
          min={1}
          max={100000}
          placeholder="what suits the music"
          value={steps}
          onChange={(event) => setSteps(event.target.value)}
        />
        <Fault id={`${id}steps`} />
      </details>

      <label className="check">
        <Input
          id={`${id}rights`}
          type="checkbox"
          required
          checked={rights}
          onChange={(event) => setRights(event.target.checked)}
        />
        This music is mine to train on. This is kept with the dataset.
      </label>
      <Fault id={`${id}rights`} />
      {estimate && <p className="hint" role="status">{estimate}</p>}
      <Notice>{trouble}</Notice>
      <button type="submit" className="primary" disabled={busy || ready.length === 0 || ready.length < songs.length}>
        {busy ? "Starting" : "Start training"}
      </button>
      {songs.length > ready.length && <p className="hint">It can start when every file is there, or removed.</p>}
    </Form>
  );
}
