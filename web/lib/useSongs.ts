"use client";

import { newId, type Analysis } from "producer-twin";
import { useCallback, useEffect, useRef, useState } from "react";
import { api, isAbort } from "./client";
import { distinctName } from "./names";

/**
 * A file on its way to a training. The producer's own words (`bpm` to `instruments`) go before what was heard.
 *
 * `name` is that of no other file of the training. `paths` are where it was uploaded, by producer id.
 */
export type Song = {
  key: string;
  file: File;
  name: string;
  src: string;
  share: number;
  paths: Record<string, string>;
  known?: Analysis;
  bpm: string;
  tone: string;
  genre: string;
  instruments: string;
  trouble?: unknown;
};

export type Songs = {
  songs: Song[];
  /** The id of the training that the files are sent for. */
  job: string;
  add: (files: File[]) => void;
  change: (key: string, news: Partial<Song>) => void;
  remove: (song: Song) => void;
  clear: () => void;
};

const pathOf = (song: Song, producer: string): string | undefined => song.paths[producer];

export const isUploaded = (song: Song, producer: string): boolean => producer !== "" && pathOf(song, producer) !== undefined;

/**
 * Files that are uploaded one after the other, and listened to by the service, as soon as there is a producer id. They are kept
 * when the id changes, and sent again for the other one. An upload whose song is removed is aborted.
 */
export function useSongs(producer: string): Songs {
  const [songs, setSongs] = useState<Song[]>([]);
  const [job, setJob] = useState(newId);
  const names = useRef(new Set<string>()); // also of those that were removed since

  const change = useCallback((changed: string, news: Partial<Song>): void => {
    setSongs((all) => all.map((song) => (song.key === changed ? { ...song, ...news } : song)));
  }, []);

  const { key, file, name } = songs.find((song) => !isUploaded(song, producer) && song.trouble === undefined) ?? {};
  useEffect(() => {
    if (!producer || !key || !file || !name) return;
    const leaving = new AbortController();
    const onProgress = (sent: number, total: number): void => change(key, { share: sent / total });
    api.uploads.upload(producer, file, { job_id: job, filename: name, onProgress, signal: leaving.signal }).then(
      ({ path }) =>
        setSongs((all) => all.map((song) => (song.key === key ? { ...song, paths: { ...song.paths, [producer]: path } } : song))),
      (error: unknown) => !isAbort(error) && change(key, { trouble: error }),
    );
    return () => leaving.abort();
  }, [producer, job, key, file, name, change]);

  const unheard = songs.find((song) => isUploaded(song, producer) && !song.known && song.trouble === undefined);
  const [heard, path] = [unheard?.key, unheard && pathOf(unheard, producer)];
  useEffect(() => {
    if (!heard || !path) return;
    const leaving = new AbortController();
    api.uploads.analysis(path, { signal: leaving.signal }).then(
      (known) => change(heard, { known }),
      (error: unknown) => !isAbort(error) && change(heard, { trouble: error }),
    );
    return () => leaving.abort();
  }, [heard, path, change]);

  function add(files: File[]): void {
    const fresh = files.map(
      (each): Song => ({
        key: newId(),
        file: each,
        name: distinctName(each.name, names.current),
        src: URL.createObjectURL(each),
        share: 0,
        paths: {},
        bpm: "",
        tone: "",
        genre: "",
        instruments: "",
      }),
    );
    setSongs((all) => [...all, ...fresh]);
  }

  function remove(song: Song): void {
    URL.revokeObjectURL(song.src);
    setSongs((all) => all.filter((other) => other.key !== song.key));
  }

  function clear(): void {
    songs.forEach((song) => URL.revokeObjectURL(song.src));
    setSongs([]);
    setJob(newId());
    names.current.clear();
  }

  return { songs, job, add, change, remove, clear };
}
