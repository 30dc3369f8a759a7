"""The exercises of a lecture on distributed programming, each shown on grange by a short program.

`docs/lecture.md` says what each of them shows. `python -m examples.lecture.01_message_passing` runs one. Most of them
run a whole cluster in this process and in virtual time, so that minutes of it take milliseconds.
"""
