#!/usr/bin/env bash
# Upload a beat, train a twin on it, and generate a track with it.
#
#   bash upload_train_generate.sh [--url http://127.0.0.1:3000] [--key KEY] [--max-steps N] beat.wav track.wav
#
# Needs curl and a running service (`make serve`).
set -euo pipefail

url=http://127.0.0.1:3000
producer=ada
model=night
max_steps=null # null: the service chooses
auth=()
while [[ ${1:-} == --* ]]; do
  case $1 in
    --url) url=$2 ;;
    --key) auth=(-H "Authorization: Bearer $2") ;;
    --max-steps) max_steps=$2 ;;
    *) echo "unknown option $1" >&2; exit 2 ;;
  esac
  shift 2
done
beat=${1:?name a beat} track=${2:?name the file for the track}
job=job-$(date +%s)-$$ # ids may be chosen, so that no answer has to be parsed

# Prints the answer; ends the script with the service's sentence if it is an error.
call() { curl -sS --fail-with-body "${auth[@]}" "$@"; }

echo "Uploading $beat"
call "$url/uploads" -F "producer_id=$producer" -F "job_id=$job" -F "filename=beat.${beat##*.}" -F "file=@$beat"
echo

echo "Training $producer:$model"
call "$url/train/submit" -H 'Content-Type: application/json' -d @- <<JSON
{
  "producer_id": "$producer", "model_name": "$model", "job_id": "$job", "max_steps": $max_steps,
  "upload_paths": ["/data/uploads/$producer/$job/beat.${beat##*.}"]
}
JSON
echo

# Server-sent events: the job's record whenever it changes, until it has ended.
call -N "$url/jobs/$job/events" | grep --line-buffered -o '"state": *"[a-z]*"' | uniq
call "$url/jobs/$job" | grep -q '"state": *"done"' || { call "$url/jobs/$job" >&2; exit 1; }

echo "Generating $track"
call "$url/generate" -H 'Content-Type: application/json' -H 'Accept: audio/wav' -o "$track" -d @- <<JSON
{"prompt": "808 trap beat, dark synth", "lora_id": "$producer:$model", "duration_seconds": 10, "seed": 7}
JSON
echo "$track: $(wc -c < "$track") bytes"
