# For scripts that run tests with --figures on several kinds of processors; to be sourced in the checkout's root.

# Single operations, a small transformer, decoder, sound and text encoder. Kernels for cards do not depend on the processor.
# shellcheck disable=SC2034
tests=(tests/nn --ignore-glob "*cuda*" --ignore-glob "*warpgroup*"
  tests/models/test_{transformer,video_vae,audio,gemma3,stored_types}.py)

# Operations again, and of the networks one shape of each: for processors whose emulation is slow.
# shellcheck disable=SC2034
one_of_each=("${tests[@]:0:5}" tests/models/test_transformer.py::test_transformer_is_its_formulas
  tests/models/test_video_vae.py::test_decode_follows_the_formulas tests/models/test_audio.py::test_wave_of_a_mel
  tests/models/test_gemma3.py::test_hidden_states_follow_the_formulas)

# What an emulated processor leaves out, since it takes minutes there: clips and sound in tiles, streams and parts, whose arithmetic
# others have; the widest convolution and window and a thousand tokens of text; and of each stored type all but one network and one
# lookup of rows, since what else is made of the type is decoded alike. An argument of pytest's -k.
# shellcheck disable=SC2034
left_out="streaming or tiles_ or in_parts or chunks or is_flat or memory_does_not_grow or long_prompts"
left_out+=" or 48-130-2-7-9 or grid2-window2 or converted_file or loras_change_weights or every_network or quantised_anew"

# figures LOG: the lines of tests' output that say of each bound of tests/tolerances.py: its name and value, how often it was
# compared with, and the worst error.
figures() {
  sed '1,/comparisons and the worst/d' "$1" | grep -E '^[A-Za-z0-9_]+ [^ ]+ [0-9]+ [^ ]+$' || true
}

# figures_table FILE...: those of several processors beside each other, under the names of the files.
figures_table() {
  # shellcheck disable=SC2016
  awk '
    FNR == 1 { ++columns; heading = heading sprintf(" %18s", FILENAME) }
    { row = sprintf("%-24s %7s", $1, $2); rows[row]; cell[row, columns] = sprintf("%s x %s", $3, $4) }
    END {
      printf "%-32s%s\n", "bound", heading
      for (row in rows) {
        line = row
        for (i = 1; i <= columns; ++i) line = line sprintf(" %18s", cell[row, i])
        print line | "sort"
      }
    }' "$@"
}
