"""Teach the finished starter the tasks beside text-to-music: repaint, extend, cover, work on stems, and a reference.

    python -m recipes.first_edition ace_step unpack             # start from the shipped weights
    python -m recipes.first_edition ace_step pieces --first 4720  # songs that these have not seen
    python -m recipes.first_edition ace_step audio_tokens       # the tokenizer and detokenizer of covers
    python -m recipes.first_edition ace_step timbre             # the encoder of references
    python -m recipes.first_edition ace_step tasks              # all of them together; pieces may run beside it
    python -m recipes.first_edition ace_step pack_tasks --to FOLDER
    python -m recipes.first_edition ace_step evaluate_tasks --checkpoint FOLDER
    python -m recipes.first_edition ace_step evaluate --checkpoint FOLDER   # text-to-music, as before

A checkpoint that knows the tasks already is unpacked with its audio tokens: then only `pieces` and `tasks` follow.

The codec stays as it is. What changes in the checkpoint:

- The timbre encoder gets a second layer and is trained. With one layer its token depends on the first 0.1 s only.
- Each fixed part of the new instructions is one token.
- `audio_tokenizer` and `audio_token_detokenizer` are added.
- The context of repaint and extend is the clock inside the window and the source outside. The source often begins off
  the clock's beat, so that the model learns to follow the source.
"""
