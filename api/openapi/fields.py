"""Descriptions of the fields of requests, for the OpenAPI document; their limits are in the contract's models."""

from __future__ import annotations

from contract import ID_RULE

_PRODUCER = f"The producer's id: {ID_RULE}"
_JOB = "The folder of the upload; a new UUID if left out"
_FILENAME = "Only its last part is used"
_FILE = "WAV, FLAC, MP3, Ogg, Opus or M4A"
_AS_JSON = "as JSON, or names between commas"
_WEBHOOK = "An https URL that is sent a signed message when the {} has ended"

FIELDS: dict[str, dict[str, str]] = {
    "StoreUploadRequest": {
        "producer_id": _PRODUCER,
        "job_id": _JOB,
        "filename": _FILENAME,
        "content_base64": f"{_FILE}, as base64 or as a data URL",
    },
    "UploadFields": {"producer_id": _PRODUCER, "job_id": _JOB, "filename": f"{_FILENAME}; the file's own if left out"},
    "UploadLinkRequest": {
        "producer_id": _PRODUCER,
        "job_id": _JOB,
        "filename": _FILENAME,
        "bytes": "The file's size",
    },
    "TrainRequest": {
        "producer_id": _PRODUCER,
        "upload_urls": "http(s) URLs on public addresses; either these or upload_paths",
        "upload_paths": "Paths that uploads answered; either these or upload_urls",
        "dataset_job_id": "An earlier job whose dataset is trained on again, instead of files",
        "model_name": "The twin's name; it is used as producer_id:model_name",
        "metadata_per_file": "For each file: title, bpm, key, genre, mood, tags; they replace what analysis finds",
        "job_id": "The same id with the same body answers the same job; a new UUID if left out",
        "skip_preprocess": "Train on the raw files",
        "tag_before_train": "Have Gemini describe each segment; needs GEMINI_API_KEY",
        "backend_override": "The model; the default one if left out",
        "max_steps": "Optimiser steps; what suits the model and the music if left out",
        "rank": "The adapter's rank; what suits the model if left out",
        "learning_rate": "The optimiser's learning rate; what suits the model if left out",
        "seed": "The seed of the training's random numbers",
        "keep": "best: the twin is the version that was best on held-out songs; last: that of the last step",
        "profile": "contract: segments of 44.1 kHz mono; native: the model's own rate and channels",
        "segment_on": "time: every 15 s; beat: on bars; beat for a model that keeps a clock, else time, if left out",
        "rights_confirmed": "The producer confirms the right to train on the music; kept in the dataset's record",
        "webhook_url": _WEBHOOK.format("job"),
    },
    "BlendPart": {
        "lora_id": "A twin, or producer:model@version",
        "weight": "The twin's share; all shares are scaled to add up to 1",
    },
    "GenerateRequest": {
        "prompt": "A description of the music",
        "lora_id": "A twin, or producer:model@version; the base model if left out",
        "loras": "Several twins to blend, instead of lora_id",
        "duration_seconds": "Up to the model's limit; 60, or that limit if it is less, if left out",
        "backend_override": "The model; a twin's own, or the default one, if left out",
        "seed": "The same request and seed give the same audio; a new one, which is answered, if left out or -1",
        "lora_scale": "The strength of the twins; each twin's own recommended_scale if left out",
        "lora_scales": "Factors on lora_scale: of the twins' attention layers, and of all their other layers (mlp)",
        "lyrics": "The words to sing",
        "bpm": "The tempo, rounded to a whole number; that of the twin's music if it is 0, empty, auto or left out",
        "key": "Major or minor, such as A minor, Am or 8A; left to the model if it is empty, auto or left out",
        "time_signature": "One of 2/4, 3/4, 4/4 and 6/8; left to the model if it is empty, auto or left out",
        "steps": "Sampling steps; the checkpoint's own if left out",
        "guidance": "How closely the prompt is followed; the checkpoint's own if left out",
        "shift": "The shift of ACE-Step's timesteps; the checkpoint's own if left out",
        "temperature": "The temperature of MusicGen's sampling; the checkpoint's own if left out",
        "output_format": "The file's format; the one that Accept names if left out",
        "bit_depth": "Of wav (16, 24, 32f) and flac (16, 24); 16, or that of a source that is kept, if left out",
        "loudness": "The integrated loudness in LUFS, such as -14, at a true peak of -1 dBTP at most; the model's if "
        "left out",
        "loop": "Cut the track to whole bars, so that its end runs into its beginning; bpm or a twin's tempo is needed",
        "stream": "Send the audio as it is made, in the format of Accept: wav, flac, mp3 or opus; of a submitted "
        "track, let it be heard at /tracks/{track_id}/stream while it is made",
        "response": "base64: the audio in the answer; url: a link to it, for tracks of any length",
        "task": "How the track comes about: from text, or from a source; /backends lists the tasks of each model",
        "source": "The recording to edit: the path of a track or an upload, or a track's id",
        "start": "Where the window that is made anew starts, in seconds; 0 if left out (repaint, lego)",
        "end": "Where that window ends, in seconds; the source's end if left out (repaint, lego)",
        "before": "Seconds to add before the source (extend)",
        "after": "Seconds to add after the source (extend)",
        "strength": "The share of the steps that follow the source; 1 if left out (cover)",
        "noise_strength": "0 starts from noise, 1 from the source; the checkpoint's own if left out (cover)",
        "injected_share": "The share of the steps that are held to the source outside the window (repaint, extend)",
        "tracks": "The tracks to make; one for lego and extract (complete, lego, extract)",
        "reference": "A recording whose timbre is followed: as source, or producer:<id> for their newest upload",
        "keep_latents": "Keep the track's latents, so that an edit of it starts from them rather than from its sound "
        "(ACE-Step, wav and flac); as KEEP_LATENTS says if left out",
        "vocal_language": "The language of the lyrics as an ISO 639 code, such as ja; the model's default if left out",
        "takes": "How many tracks are made in one batch, answered as links; the seed of each is one higher",
        "rank": "Orders takes, the best first: by the tempo or key asked for, or by the distance from the twin's music",
        "best_of": "How many takes are made, of which the best by rank is answered",
        "accept": "Conditions; takes are drawn again until they are met, or until the draws are used up",
        "figures": "Answer what is heard: tempo, key, levels, distance from the twin's music; several takes always do",
    },
    "Accept": {
        "tempo_within": "The largest distance of the tempo that is heard from the one asked for, as a share of it",
        "key": "Whether the key that is heard must be the one asked for",
        "draws": "The largest number of takes that are drawn in all",
    },
    "LoraScales": {
        "attention": "Of the attention layers",
        "mlp": "Of all other layers; without effect on a twin of attention layers alone, such as MusicGen's",
    },
    "ProducerRequest": {
        "owner": "For administrators: the user (claim sub) who owns the producer from now on; the one before stays if "
        "left out, and a new producer has none",
        "display_name": "A name for people; the one before stays if left out",
        "twins": "Who may generate with a twin, by model_name: private (the owner; the default), link (who sends its "
        "link in x-twin-link), public. Others stay as they are; a twin that changes to link gets a new one",
    },
    "TrackChanges": {
        "title": "A name for the track; an empty text removes it",
        "liked": "Whether the track is liked",
    },
    "RollbackRequest": {"version": "A version that /loras/{lora_id}/versions lists"},
    "ImportFields": {
        "producer_id": _PRODUCER,
        "model_name": "The twin's name",
        "backend": "The model that it is for; found from the file if left out",
    },
    "RetrainRequest": {
        "job_id": "A new UUID if left out",
        "max_steps": "That of the previous training if left out",
        "seed": "That of the previous training if left out",
    },
}
FIELDS["SubmitRequest"] = FIELDS["GenerateRequest"] | {
    "response": "url, if it is sent: the track is not in the answer",
    "webhook_url": _WEBHOOK.format("track"),
}
FIELDS["GenerateForm"] = FIELDS["GenerateRequest"] | {
    name: f"{FIELDS['GenerateRequest'][name]}; {_AS_JSON}" for name in ("loras", "tracks")
}
for _name in ("accept", "lora_scales"):
    FIELDS["GenerateForm"][_name] += "; as JSON"
FIELDS["SubmitForm"] = FIELDS["SubmitRequest"] | {
    name: FIELDS["GenerateForm"][name] for name in ("accept", "lora_scales", "loras", "tracks")
}
