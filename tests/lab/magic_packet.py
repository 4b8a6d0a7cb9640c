# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""A network card that wakes its machine: waits on INTERFACE for the magic packet of MAC, then runs a COMMAND.

usage: magic_packet.py INTERFACE MAC SECONDS COMMAND...

The packet is six bytes of 0xff and 16 times the address, anywhere in a frame (AMD, Magic Packet Technology, 1995).
"""

from __future__ import annotations

import os
import socket
import sys
import time

ETH_P_ALL = 3

interface, mac, seconds, *command = sys.argv[1:]
wanted = b"\xff" * 6 + bytes.fromhex(mac.replace(":", "")) * 16
deadline = time.monotonic() + float(seconds)
with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL)) as card:
    card.bind((interface, 0))
    card.settimeout(1)
    sys.stdout.write("listening\n")
    sys.stdout.flush()
    while time.monotonic() < deadline:
        try:
            frame = card.recv(65536)
        except TimeoutError:
            continue
        if wanted in frame:
            os.execvp(command[0], command)
sys.exit(f"no magic packet within {seconds} s")
