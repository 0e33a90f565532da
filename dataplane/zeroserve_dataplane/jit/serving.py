"""The compile worker: a process that reads jobs from standard input and writes replies to its output.

Started by `workers` as `python -m zeroserve_dataplane.jit.serving`. It warms up, gives up its rights, and
then handles one program after the other until its input ends.
"""

from __future__ import annotations

import gc
import os
import sys
from typing import BinaryIO

from zeroserve_ir.confining import close_inherited_files, confine
from zeroserve_ir.program.assembly import assemble

from zeroserve_dataplane.jit.emitting import emit
from zeroserve_dataplane.jit.extracting import EmissionError
from zeroserve_dataplane.jit.messages import (
    LENGTH,
    Failed,
    Job,
    Made,
    Ready,
    Reply,
    decode_job,
    decode_length,
    encode_reply,
)
from zeroserve_dataplane.jit.targets import Target, Tier
from zeroserve_dataplane.jit.translating import translate
from zeroserve_dataplane.verifier import Refused, verify


def main() -> None:
    """Serve until standard input ends."""
    jobs, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    # Whatever prints by mistake must not reach the frames.
    os.dup2(2, 1)
    _warm()
    confined = confine()
    _write(replies, Ready(confined))
    # Whoever waits for a job waits for no garbage: it is collected between jobs, and what was loaded is none.
    gc.disable()
    gc.freeze()
    while prefix := jobs.read(LENGTH.size):
        _write(replies, handle(decode_job(jobs.read(decode_length(prefix)))))
        gc.collect()


def handle(job: Job) -> Reply:
    """Verify and compile one program; never raises for what the program is."""
    verified = verify(job.code, job.constants_bytes)
    if isinstance(verified, Refused):
        return verified
    try:
        made = emit(translate(verified), job.target, job.tier)
    except EmissionError as error:
        return Failed(str(error))
    return Made(made.text, made.entry, verified.exposure)


def _warm() -> None:
    """Load everything that a job may need: once confined, this process opens no file."""
    code = assemble("mov %r0, 0\nlddw %r1, constants+0\nldxw %r0, [%r1]\ncall match_path\nexit").code
    for target in Target:
        for tier in Tier:
            encode_reply(handle(Job(code, 8, target, tier)))


def _write(replies: BinaryIO, reply: Reply) -> None:
    replies.write(encode_reply(reply))
    replies.flush()


if __name__ == "__main__":
    close_inherited_files()
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
